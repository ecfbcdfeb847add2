"""The ways to prune, what each buys, and on which targets it buys anything."""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from edgex.errors import UsageError
from edgex.target import TargetProfile

Method = Literal["channels", "2:4", "magnitude"]

DEFAULT_SPARSITY: Mapping[Method, float] = {"channels": 0.5, "2:4": 0.5, "magnitude": 0.8}
"""Of the multiply-accumulates for channels, else of the weights."""

WHAT_IT_BUYS: Mapping[Method, str] = {
    "channels": "takes whole channels out, so that every runtime has less to do.",
    "2:4": (
        "puts two zeros into every four weights of a convolution. TensorRT skips them on GPUs from Ampere on; no other "
        "runtime gains by them."
    ),
    "magnitude": (
        "puts zeros in the place of small weights. The files compress better; they are no faster, in any runtime here."
    ),
}

FALLBACK_MULTIPLE = 8
"""Of the widths that are left where no target says one."""


def sparsity_of(method: Method, asked: float | None) -> float:
    """The share that goes, which may be the default of its method.

    Raises:
        UsageError: it is no share, or 2:4 was asked for another than its half.
    """
    if asked is None:
        return DEFAULT_SPARSITY[method]
    if not 0 < asked < 1:
        raise UsageError(f"--sparsity {asked} is no share.", fix="Give it between 0 and 1, like 0.5.")
    if method == "2:4" and asked != DEFAULT_SPARSITY[method]:
        raise UsageError("2:4 is always a sparsity of 0.5.", fix="Leave --sparsity out.")
    return asked


def what_it_buys(method: Method) -> str:
    """A sentence, to say before the work."""
    return f"Pruning by {method} {WHAT_IT_BUYS[method]}"


class NothingGainedError(UsageError):
    """A target cannot use what a method does.

    Args:
        message: as of every error.
        better: the methods that it can use.
    """

    def __init__(self, message: str, better: Sequence[Method]) -> None:
        super().__init__(message)
        self._better = better
        self.say_fix("--method {}", "--force")

    def say_fix(self, choose: str, insist: str) -> None:
        """Word the fix for where the user is.

        Args:
            choose: what chooses a method there, which stands in the place of the braces.
            insist: what insists on the method.
        """
        instead = " or ".join(choose.format(method) for method in self._better)
        advice = f"Prune with {instead}, which pays there" if instead else "Do not prune for it"
        self.fix = f"{advice}, or insist with {insist}."


def refuse_what_buys_nothing(method: Method, target: TargetProfile) -> None:
    """NothingGainedError if the target cannot use what the method does. Size is of use anywhere."""
    if method == "magnitude" or method in target.sparsity:
        return
    variant = "".join(f" {name} {value}" for name, value in target.options.items())
    raise NothingGainedError(
        f"On {target.name}{variant} the method {method} buys nothing: it {WHAT_IT_BUYS[method]}",
        [other for other in get_args(Method) if other in target.sparsity],
    )
