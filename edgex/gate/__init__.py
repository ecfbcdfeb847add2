"""Whether artifacts may ship: a pure function of what was measured.

A limit on accuracy is a test of non-inferiority on paired images: *pass* when the one-sided 95 % bound of the drop is
under the margin, *fail* when the other bound is over it, *inconclusive* between. A true drop equal to the margin is
passed five times in a hundred, which holds for one look at one set of images: adding images until it passes voids it.

Of a classifier the drop is that of top-1 accuracy, of a network that labels pixels that of mean IoU, and if asked for
that of pixel accuracy.
"""

from edgex.gate.chance import chance_doubt
from edgex.gate.judging import gate, judge
from edgex.gate.records import AnyComparison, Check, GateResult, Judgement, Limits, Verdict

__all__ = ["AnyComparison", "Check", "GateResult", "Judgement", "Limits", "Verdict", "chance_doubt", "gate", "judge"]
