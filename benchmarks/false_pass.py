"""How often ``edgex gate`` passes a drop as large as its margin: computed, not simulated.

    python -m benchmarks.false_pass docs/false-pass.svg

Of n images, those lost, those gained and the rest follow a trinomial; the chance of a pass is the sum over all outcomes
that pass. The ordinary bound, from the spread that was seen (Wald), is there for contrast.
"""

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.inputs import Workplace
from benchmarks.report import Figure, Section, Table
from edgex.gate.checks import non_inferior
from edgex.proportions import Z_ONE_SIDED_95, Paired

Rule = Callable[[int, int, int, float], bool]
"""Whether images, of which so many were lost and gained, pass a margin in points."""

IMAGES = (500, 750, 1000, 1500, 2000, 3000, 4000)
MARGINS = (0.5, 1.0, 2.0)
DISCORDANT = tuple(range(1, 11))
LIMIT = 5.2

SPREAD = 9
"""Standard deviations on either side that have weight: beyond, less than a float can tell from nothing."""


class Case(NamedTuple):
    """So many images, percent of them discordant, and a margin in points."""

    images: int
    discordant: float
    margin: float


def by_gate(images: int, lost: int, gained: int, margin: float) -> bool:
    return non_inferior(Paired(images, lost, gained), margin) == "pass"


def by_wald(images: int, lost: int, gained: int, margin: float) -> bool:
    drop = (lost - gained) / images
    deviation = math.sqrt((lost + gained) / images - drop * drop)
    return drop + Z_ONE_SIDED_95 * deviation / math.sqrt(images) < margin / 100


def pass_rate(case: Case, drop: float, passes: Rule = by_gate) -> float:
    """The chance that a rule passes if the true drop is ``drop`` points.

    A rule is asked for few outcomes only: with one image less lost, or one more gained, what passed still does.
    """
    images, margin = case.images, case.margin
    lost_share, gained_share = (case.discordant + drop) / 200, (case.discordant - drop) / 200
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, images + 1)))])
    total, most_lost = 0.0, -1
    for gained in _with_weight(images, gained_share):
        while most_lost + gained < images and passes(images, most_lost + 1, gained, margin):
            most_lost += 1
        lost = np.arange(most_lost + 1)
        rest = images - gained - lost
        ways = factorials[images] - factorials[gained] - factorials[lost] - factorials[rest]
        shares = lost * math.log(lost_share) + rest * math.log(1 - lost_share - gained_share)
        total += float(np.exp(ways + shares + (gained * math.log(gained_share) if gained else 0.0)).sum())
    return total


def _with_weight(images: int, share: float) -> range:
    reach = SPREAD * math.sqrt(images * share * (1 - share)) + SPREAD * bool(share)
    return range(max(0, math.floor(images * share - reach)), min(images, math.ceil(images * share + reach)) + 1)


def cases() -> list[Case]:
    """A drop cannot be larger than the share of images that are discordant."""
    return [Case(n, d, margin) for margin in MARGINS for n in IMAGES for d in DISCORDANT if d >= margin]


def measure(_workplace: Workplace) -> Section:
    """The worst of all cases, beside what the ordinary bound does there."""
    rates = {case: 100 * pass_rate(case, case.margin) for case in cases()}
    worst = sorted(rates, key=lambda case: -rates[case])[:5]
    rows = [(*case, rates[case], 100 * pass_rate(case, case.margin, by_wald)) for case in worst]
    figure = Figure(f"false passes at the margin, most of {len(rates)} cases", max(rates.values()), LIMIT, "%")
    columns = ("images", "discordant %", "margin", "gate %", "Wald %")
    return Section("false_pass", (figure,), Table(columns, tuple(rows)))


def images_to_pass(margin: float, discordant: float) -> int:
    """That show, four times in five, that a file which loses nothing keeps a margin in points."""
    balanced = Paired(2_000_000, *[round(10_000 * discordant)] * 2)
    needed = balanced.images_to_settle(margin / 100)
    assert needed is not None
    return needed


def plot(file: Path, margin: float = 1.0, images: Sequence[int] = (500, 1000, 4000)) -> None:
    """Both rules' rates over the share of discordant images, as an SVG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as Picture

    shares = np.linspace(margin, 10, 181).tolist()
    with mpl.rc_context({"svg.hashsalt": "edgex", "svg.fonttype": "none", "font.family": "sans-serif"}):
        picture = Picture(figsize=(9, 3.4), layout="constrained")
        for axes, title, rule in zip(
            picture.subplots(1, 2, sharey=True),
            ("Score test: edgex gate", "Wald bound, for contrast"),
            (by_gate, by_wald),
            strict=True,
        ):
            for count in images:
                rates = [100 * pass_rate(Case(count, share, margin), margin, rule) for share in shares]
                axes.plot(shares, rates, label=f"{count:,} images", linewidth=1.2)
            axes.axhline(5, color="#51606e", linewidth=0.8, linestyle="--")
            axes.set(title=title, xlabel="discordant images, %", xlim=(margin, 10), ylim=(0, 14))
            axes.grid(color="#e3e8ee", linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
        picture.axes[0].set_ylabel(f"passes at a true drop of {margin:g} point, %")
        picture.axes[1].legend(frameon=False)
        picture.savefig(file, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    plot(Path(sys.argv[1]))
