"""Intervals say what they claim, on latencies made up so that the truth is known."""

import numpy as np
import pytest

from edgex.bench.interval import Interval, expanded_interval, median_interval, paired_ratio

TRIALS = 200
ROUNDS = 10
BURSTS = 8


def made_up_rounds(random: np.random.Generator, true_ratio: float, disturbed: float) -> np.ndarray:
    """Ratios of neighbouring bursts (rounds, bursts): each round's processes have a luck of their own, and something
    comes between some neighbours."""
    luck = random.normal(0, 0.03, (ROUNDS, 1)) - random.normal(0, 0.03, (ROUNDS, 1))
    noise = random.normal(0, 0.02, (ROUNDS, BURSTS))
    between = (random.random((ROUNDS, BURSTS)) < disturbed) * random.normal(0, 0.3, (ROUNDS, BURSTS))
    return true_ratio * np.exp(luck + noise + between)


@pytest.mark.parametrize(("true_ratio", "disturbed"), [(1.0, 0.0), (0.8, 0.0), (1.0, 0.3)])
def test_covers_the_true_ratio(true_ratio: float, disturbed: float) -> None:
    random = np.random.default_rng(0)
    covered, excluded = 0, 0
    for seed in range(TRIALS):
        ratio, found = paired_ratio(made_up_rounds(random, true_ratio, disturbed).tolist(), seed)
        assert ratio in found
        covered += true_ratio in found
        excluded += 1.15 * true_ratio not in found
    assert covered >= 0.93 * TRIALS
    assert excluded >= 0.93 * TRIALS, "an interval that covers everything says nothing"


def test_bursts_of_one_round_are_no_independent_evidence() -> None:
    """The trial above can fail: as if each pair of bursts were a round of its own, many intervals would miss."""
    random = np.random.default_rng(0)
    rounds = [made_up_rounds(random, 1.0, 0.0).reshape(-1, 1).tolist() for _ in range(TRIALS)]
    covered = sum(1.0 in paired_ratio(each, seed)[1] for seed, each in enumerate(rounds))
    assert covered < 0.8 * TRIALS


def test_the_interval_of_a_median_covers_it() -> None:
    """Single runs are late, never early: the median of what is added is that of an exponential distribution."""
    random = np.random.default_rng(0)
    covered, naive = 0, 0
    for seed in range(TRIALS // 2):
        late = random.standard_exponential((ROUNDS, 16))
        blocks = (1 + 0.03 * random.normal(size=(ROUNDS, 1))) * (1 + 0.02 * late)
        true_median = 1 + 0.02 * np.log(2)
        covered += true_median in median_interval(list(blocks), seed)
        naive += true_median in median_interval(list(blocks.reshape(-1, 1)), seed)
    assert covered >= 0.9 * TRIALS // 2
    assert naive < 0.8 * TRIALS // 2


def test_few_blocks_give_wide_intervals() -> None:
    """Of normal values: 2.26 standard errors to either side for ten, and about the usual 1.96 for two hundred."""
    random = np.random.default_rng(0)
    resampled = random.normal(100, 1, 100_000)
    for blocks, reach in ((10, 2.262 * np.sqrt(10 / 9)), (200, 1.972 * np.sqrt(200 / 199))):
        found = expanded_interval(resampled, blocks)
        assert found.high - 100 == pytest.approx(reach, abs=0.05)
        assert 100 - found.low == pytest.approx(reach, abs=0.05)


def test_one_block_has_no_width() -> None:
    assert median_interval([np.array([3.0, 1.0, 2.0])], 0) == Interval(2.0, 2.0)


def test_half_width() -> None:
    assert Interval(0.9, 1.2).half_width(2.0) == pytest.approx(0.075)
