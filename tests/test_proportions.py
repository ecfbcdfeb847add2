"""The statistics of the gate, against published values, other computations, and the exact distribution."""

import math
import re
from random import Random

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binom, multinomial

from benchmarks.false_pass import LIMIT, Case, by_gate, by_wald, cases, images_to_pass, pass_rate
from benchmarks.processes import ROOT
from edgex.proportions import (
    Z_95,
    Z_ONE_SIDED_95,
    Paired,
    binomial_tail,
    images_to_settle_share,
    wilson_interval,
)

SOME = [
    Paired(*counts)
    for counts in [(1, 0, 0), (1, 1, 0), (1, 0, 1), (20, 20, 0), (20, 0, 20), (20, 10, 10), (500, 0, 0), (500, 0, 3)]
] + [
    Paired(n, random.randrange(n // 9), random.randrange(n // 9)) for random in [Random(3)] for n in range(40, 4000, 99)
]


# The score test


@pytest.mark.parametrize(
    ("images", "lost", "gained", "low", "high"),
    [
        (32, 9, 3, -0.027, 0.390),  # T. Tango 1998, section 6: sleeping difficulties (Karacan et al.)
        (21, 1, 7, -0.517, -0.026),  # M. Fagerland, S. Lydersen, P. Laake, Statistics in Medicine 33, 2014, table V
        (161, 6, 16, -0.1240, -0.0054),  # their book of 2017, chapter 8: complete response (Cavo et al.)
    ],
)
def test_two_sided_intervals_as_published(images: int, lost: int, gained: int, low: float, high: float) -> None:
    paired = Paired(images, lost, gained)
    decimals = 4 if images == 161 else 3
    assert round(paired.lower_bound(Z_95), decimals) == low
    assert round(paired.upper_bound(Z_95), decimals) == high


def test_one_sided_bound_and_score_as_published() -> None:
    """T. Tango 1998, section 6: soft contact lenses, n = 44, with the margin 0.1 on the other side."""
    lenses = Paired(44, lost=1, gained=0)
    assert round(-lenses.score(0.1), 3) == pytest.approx(1.709, abs=0.001)
    assert round(lenses.upper_bound(), 3) == 0.096


def likeliest_gain(paired: Paired, drop: float) -> float:
    """The share of gained images that maximizes the likelihood of the counts, for a given drop."""
    rest = paired.images - paired.discordant

    def unlikelihood(gain: float) -> float:
        shares = (gain + drop, gain, 1 - 2 * gain - drop)
        counts = (paired.lost, paired.gained, rest)
        return -sum(count * math.log(max(share, 1e-300)) for count, share in zip(counts, shares, strict=True) if count)

    bounds = (max(0.0, -drop), (1 - drop) / 2)
    return float(minimize_scalar(unlikelihood, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x)


@pytest.mark.parametrize("drop", [-0.3, -0.02, 0.0, 0.005, 0.01, 0.05, 0.4])
def test_score_by_maximizing_the_likelihood(drop: float) -> None:
    for paired in SOME:
        if paired.images < 40:
            continue
        variance = 2 * likeliest_gain(paired, drop) + drop - drop * drop
        expected = (paired.lost - paired.gained - paired.images * drop) / math.sqrt(
            paired.images * variance or math.nan
        )
        if not math.isnan(expected):
            assert paired.score(drop) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_score_of_no_drop_is_mcnemars() -> None:
    for paired in SOME:
        expected = (paired.lost - paired.gained) / math.sqrt(paired.discordant or 1)
        assert paired.score(0) == pytest.approx(expected)


def test_score_falls_with_the_drop() -> None:
    grid = np.linspace(-1, 1, 401).tolist()
    for paired in SOME:
        scores = [paired.score(drop) for drop in grid]
        assert scores == sorted(scores, reverse=True), paired


def test_bounds_lie_where_the_score_says() -> None:
    for paired in SOME:
        low, high = paired.lower_bound(), paired.upper_bound()
        assert -1 <= low <= paired.drop <= high <= 1
        if low > -1 and high < 1:
            assert paired.score(low) == pytest.approx(Z_ONE_SIDED_95, abs=1e-6)
            assert paired.score(high) == pytest.approx(-Z_ONE_SIDED_95, abs=1e-6)


def test_bounds_of_degenerate_counts() -> None:
    nothing = Paired(500, 0, 0)
    assert nothing.upper_bound() == pytest.approx(Z_ONE_SIDED_95**2 / (500 + Z_ONE_SIDED_95**2))
    assert nothing.lower_bound() == pytest.approx(-nothing.upper_bound())
    assert Paired(5, 5, 0).upper_bound() == 1
    assert Paired(5, 0, 5).lower_bound() == -1
    assert Paired(1, 0, 0).upper_bound() > 0.7


def test_score_at_the_ends() -> None:
    assert Paired(5, 0, 0).score(0) == 0
    assert Paired(5, 0, 5).score(-1) == 0
    assert Paired(5, 0, 5).score(1) == -math.inf
    assert Paired(5, 5, 0).score(-1) == math.inf


# The exact distribution


def test_rates_are_those_of_all_outcomes() -> None:
    """The enumeration asks few outcomes; here all are asked."""
    for case, drop in [(Case(60, 20, 5.0), 5.0), (Case(45, 30, 10.0), 0.0), (Case(50, 6, 6.0), 6.0)]:
        shares = [(case.discordant + drop) / 200, (case.discordant - drop) / 200, 1 - case.discordant / 100]
        for rule in (by_gate, by_wald):
            expected = sum(
                multinomial.pmf([lost, gained, case.images - lost - gained], case.images, shares)
                for lost in range(case.images + 1)
                for gained in range(case.images + 1 - lost)
                if rule(case.images, lost, gained, case.margin)
            )
            assert pass_rate(case, drop, rule) == pytest.approx(expected, abs=1e-12)
            assert 0 < expected < 1


@pytest.mark.parametrize("margin", [0.5, 1.0, 2.0])
def test_false_passes(margin: float) -> None:
    """A drop as large as the margin passes at most 5.2 times in a hundred."""
    rates = {case: 100 * pass_rate(case, case.margin) for case in cases() if case.margin == margin}
    assert len(rates) > 60
    worst = max(rates, key=lambda case: rates[case])
    assert rates[worst] <= LIMIT, worst
    assert rates[worst] > 4.7, "a rule that never passes would do as well"


def test_false_passes_without_gains() -> None:
    """Where all discordant images are lost, the score test alone would err more often."""
    case = Case(750, 1, 1.0)

    def by_score(images: int, lost: int, gained: int, margin: float) -> bool:
        return Paired(images, lost, gained).upper_bound() < margin / 100

    assert 100 * pass_rate(case, 1.0, by_score) > 5.8
    assert 100 * pass_rate(case, 1.0) <= 5


def test_an_ordinary_bound_passes_too_often() -> None:
    assert 100 * pass_rate(Case(500, 1, 1.0), 1.0, by_wald) == pytest.approx(12.3, abs=0.05)


def test_power_grows() -> None:
    rates = [pass_rate(Case(images, 5, 1.0), 0.0) for images in (500, 1000, 2000, 4000)]
    assert rates == sorted(rates)
    assert rates[0] < 0.3 < 0.85 < rates[-1]


def test_without_gains_the_exact_test_decides() -> None:
    """The rule of three: to be under 1 % for sure takes 299 images without a loss."""
    assert not Paired(298, 0, 0).surely_under(0.01)
    assert Paired(299, 0, 0).surely_under(0.01)
    assert Paired(298, 0, 0).upper_bound() < 0.01


def test_binomial_tail() -> None:
    for hits, count, share in [(0, 1, 0.5), (3, 750, 0.01), (300, 4000, 0.08), (4000, 4000, 0.5), (90, 10**6, 1e-4)]:
        assert binomial_tail(hits, count, share) == pytest.approx(binom.cdf(hits, count, share), rel=1e-9)
    assert binomial_tail(-1, 10, 0.5) == 0
    assert [binomial_tail(hits, 10, share) for hits in (9, 10) for share in (0, 1)] == [1, 0, 1, 1]


# How many images


@pytest.mark.parametrize(("margin", "discordant", "drop"), [(1, 5, 0.0), (1, 2, 0.3), (0.5, 4, 0.1), (2, 10, 0.0)])
def test_so_many_images_settle_it_four_times_in_five(margin: float, discordant: float, drop: float) -> None:
    counts = [round(1e6 * (discordant + sign * drop) / 200) for sign in (1, -1)]
    needed = Paired(10**6, *counts).images_to_settle(margin / 100)
    assert needed is not None
    assert pass_rate(Case(needed, discordant, margin), drop) == pytest.approx(0.8, abs=0.02)
    assert pass_rate(Case(needed // 2, discordant, margin), drop) < 0.7


def test_so_many_images_show_a_failure() -> None:
    """Mirrored: models swapped, a drop over the margin is one under minus the margin."""
    needed = Paired(10**6, 40_000, 20_000).images_to_settle(0.01)
    assert needed is not None
    lost = np.random.default_rng(0).multinomial(needed, [0.04, 0.02, 0.94], 4000)
    shown = sum(Paired(needed, a, b).surely_over(0.01) for a, b, _ in lost.tolist()) / 4000
    assert shown == pytest.approx(0.8, abs=0.03)


def test_images_to_settle_are_more_than_there_are() -> None:
    for paired in SOME:
        for margin in (0.001, 0.01, 0.05):
            if abs(paired.score(margin)) < Z_ONE_SIDED_95:
                needed = paired.images_to_settle(margin)
                assert needed is None or needed > paired.images


def test_no_number_of_images_settles_a_drop_at_the_margin() -> None:
    assert Paired(1000, 20, 10).images_to_settle(0.01) is None
    assert Paired(100_000, 2000, 1001).images_to_settle(0.01) is None


def test_images_that_a_perfect_model_takes() -> None:
    needed = Paired(100, 0, 0).images_to_settle(0.01)
    assert needed is not None
    assert 299 <= needed <= 302
    assert Paired(needed, 0, 0).surely_under(0.01)


def test_figures_of_the_docs() -> None:
    text = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\d.]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", text, re.MULTILINE)
    assert [row[0] for row in rows] == ["0.5", "1", "2"]
    for margin, *cells in rows:
        assert cells == [f"{images_to_pass(float(margin), discordant):,}" for discordant in (1, 2, 5, 10)]
    worst = max(100 * pass_rate(case, case.margin) for case in cases())
    assert f"it is {worst:.2f} % at most" in " ".join(text.split())


def test_images_of_the_docs_are_fewest_where_models_agree() -> None:
    assert images_to_pass(1, 1) < images_to_pass(1, 5) < images_to_pass(0.5, 5)
    assert images_to_pass(1, 5) == pytest.approx(3091, rel=0.03)  # the textbook's formula, of the spread without drop


def test_images_that_settle_a_share() -> None:
    needed = images_to_settle_share(970, 1000, 0.96)
    assert needed is not None
    least = next(hits for hits in range(needed + 1) if wilson_interval(hits, needed, Z_ONE_SIDED_95)[0] > 0.96)
    assert binom.sf(least - 1, needed, 0.97) == pytest.approx(0.8, abs=0.02)
    assert images_to_settle_share(96, 100, 0.96) is None


def test_wilson_as_published() -> None:
    """R. Newcombe, Statistics in Medicine 17, 1998, 857-872, table I, method 3."""
    for hits, count, low, high in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)]:
        assert wilson_interval(hits, count) == pytest.approx((low, high), abs=5e-5)
