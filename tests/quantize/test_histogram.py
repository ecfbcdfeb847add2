"""Ranges from histograms, against what rounding the values themselves costs."""

from functools import reduce
from operator import add

import numpy as np
import pytest
from numpy.typing import NDArray

from edgex.graph.ir import Array
from edgex.plan import Range, Scheme, quantization_parameters
from edgex.quantize.histogram import (
    BINS,
    SHRINKING,
    Histogram,
    HistogramMethod,
    best_range,
    least_divergence_range,
    least_error_range,
    percentile_range,
)
from edgex.quantize.observers import spanning_zero

RANDOM = np.random.default_rng(0)
COUNT = 40_000

DISTRIBUTIONS = {
    "normal": RANDOM.normal(0, 1, COUNT),
    "lopsided": RANDOM.normal(2, 1, COUNT),
    "relu": np.maximum(RANDOM.normal(0, 1, COUNT), 0),
    "heavy tails": RANDOM.standard_cauchy(COUNT).clip(-50, 50),
    "one heavy tail": np.concatenate([RANDOM.uniform(-1, 1, COUNT), -RANDOM.exponential(2, 200)]),
    "large": RANDOM.normal(0, 3e5, COUNT),
    "small": RANDOM.normal(0, 3e-5, COUNT),
}
METHODS: tuple[HistogramMethod, ...] = ("percentile", "mse", "entropy")
SCHEMES: tuple[Scheme, ...] = ("asymmetric", "symmetric")


def fresh() -> np.random.Generator:
    """So that tests draw the same in any order."""
    return np.random.default_rng(1)


def outermost(values: NDArray[np.floating]) -> Range:
    return spanning_zero(float(values.min()), float(values.max()))


def histogram(values: NDArray[np.floating], parts: int = 7) -> Histogram:
    """Counted part by part."""
    values = values.astype(np.float32)
    span = outermost(values)
    return reduce(add, (Histogram.of(part, span) for part in np.array_split(values, parts)))


# Counting


def test_counts_are_those_of_numpy() -> None:
    values = DISTRIBUTIONS["lopsided"].astype(np.float32)
    found = histogram(values)
    expected, edges = np.histogram(values, bins=BINS, range=found.span)
    assert found.edges == pytest.approx(edges)
    assert np.abs(np.cumsum(found.counts) - np.cumsum(expected)).max() <= 1, "a value on an edge may go either way"
    assert found.counts.sum() == COUNT


def test_parts_add_up_in_any_shape() -> None:
    values = DISTRIBUTIONS["relu"]
    one, many = histogram(values.reshape(10, -1, 4), 1), histogram(values, 9)
    assert np.array_equal(one.counts, many.counts)
    assert one.zeros == many.zeros == (values == 0).sum()


def test_values_that_float_rounding_puts_outside_count_at_the_ends() -> None:
    found = Histogram.of(np.array([-1.0001, 0.5, 2.0001], np.float32), Range(-1.0, 2.0))
    assert np.flatnonzero(found.counts).tolist() == [0, BINS // 2, BINS - 1]


def test_zeros_are_taken_out_of_their_bin() -> None:
    values = np.array([0.0] * 7 + [1e-9, 1.0, -1.0])
    counts = histogram(values).counts_but_zeros()
    assert counts.sum() == 3
    assert counts.min() == 0


# Percentiles


@pytest.mark.parametrize("percentile", [90.0, 99.0, 99.9, 100.0])
@pytest.mark.parametrize("case", ["normal", "lopsided", "relu", "heavy tails", "large", "small"])
def test_percentiles_are_those_of_numpy(case: str, percentile: float) -> None:
    values = DISTRIBUTIONS[case].astype(np.float32)
    low, high = np.percentile(values, [(100 - percentile) / 2, (100 + percentile) / 2])
    # A bin, and where values are few what lies between two of them
    width = 1.01 * np.ptp(outermost(values)) / BINS
    gap = np.ptp(np.percentile(values, [(100 + percentile) / 2 - 0.01, min((100 + percentile) / 2 + 0.01, 100)]))
    found = percentile_range(histogram(values), percentile)
    assert found == pytest.approx(spanning_zero(float(low), float(high)), abs=width + gap)
    other = np.percentile(values, (100 + percentile) / 2 - 4)
    assert found.high != pytest.approx(other, abs=width + gap), "another percentile would show"


def test_all_the_values_give_the_outermost_exactly() -> None:
    values = fresh().normal(0, 1, 1000).astype(np.float32)
    assert percentile_range(histogram(values), 100.0) == outermost(values)


# Errors


def squared_error(values: NDArray[np.floating], span: Range, scheme: Scheme) -> float:
    """Mean, of real rounding."""
    scale, zero_point = quantization_parameters(span, scheme)
    lowest = -127 if scheme == "symmetric" else -128
    stored = np.clip(np.rint(values / scale) + zero_point, lowest, 127)
    return float(np.square((stored - zero_point) * scale - values).mean())


def ranges_around(values: NDArray[np.floating]) -> list[Range]:
    """A grid of others, that of the method not among them."""
    low, high = outermost(values)
    shares = np.geomspace(1, 0.03, 34)
    return [Range(low * one, high * other) for one in shares for other in shares]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("case", DISTRIBUTIONS)
def test_no_other_range_rounds_with_less_error(case: str, scheme: Scheme) -> None:
    values = DISTRIBUTIONS[case].astype(np.float32)
    found = squared_error(values, least_error_range(histogram(values), scheme), scheme)
    sample = values[::4]
    nearly_best = sorted(ranges_around(values), key=lambda span: squared_error(sample, span, scheme))[:5]
    best = min(squared_error(values, span, scheme) for span in nearly_best)
    assert found <= 1.02 * best
    if case in ("normal", "large", "small"):
        assert squared_error(values, outermost(values), scheme) > 1.05 * found, "that of all values would show"


def test_the_error_is_that_of_the_scheme() -> None:
    values = DISTRIBUTIONS["one heavy tail"].astype(np.float32)
    spans = {scheme: least_error_range(histogram(values), scheme) for scheme in SCHEMES}
    assert squared_error(values, spans["asymmetric"], "asymmetric") < squared_error(
        values, spans["symmetric"], "asymmetric"
    )
    assert squared_error(values, spans["symmetric"], "symmetric") < squared_error(
        values, spans["asymmetric"], "symmetric"
    )


# Divergence


def divergence(values: NDArray[np.floating], limit: float) -> float:
    """Of what the symmetric scheme makes of values, their magnitudes in 2048 bins, written out bin by bin."""
    bins, levels = 2048, 128
    counts, edges = np.histogram(np.abs(values[values != 0]), bins=bins, range=(0, np.abs(values).max()))
    last = int(np.searchsorted(edges, limit * 0.9999))
    real = counts[:last].astype(float)
    real[-1] += counts[last:].sum()
    rounded = np.zeros(last)
    for level in range(levels):
        inside = [at for at in range(last) if round((at + 0.5) * (levels - 1) / last) == level]
        filled = [at for at in inside if real[at]]
        for at in filled:
            rounded[at] = max(counts[inside].sum() / len(filled), 1)
    real, rounded = real / real.sum(), rounded / rounded.sum()
    return float(sum(p * np.log(p / q) for p, q in zip(real, rounded, strict=True) if p))


@pytest.mark.parametrize("case", ["relu", "heavy tails"])
def test_no_other_threshold_diverges_less(case: str) -> None:
    values = DISTRIBUTIONS[case].astype(np.float32)
    found = max(np.abs(least_divergence_range(histogram(values), "symmetric")))
    reach = float(np.abs(values).max())
    limits = reach * SHRINKING[::6][SHRINKING[::6] >= 0.1]
    least = min(divergence(values, limit) for limit in limits)
    assert divergence(values, found) <= 1.2 * least + 1e-3
    assert max(divergence(values, limit) for limit in limits) > 2 * least + 1e-3, "others would show"


def test_what_lies_on_a_grid_already_is_kept() -> None:
    """Each step holds one value of the grid, so nothing is lost; spread over all bins of a step it would be."""
    values = np.append(np.rint(fresh().normal(0, 10, COUNT)), [120.0, -120.0]) / 10
    assert least_divergence_range(histogram(values), "symmetric") == outermost(values.astype(np.float32))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_thin_tail_is_cut(scheme: Scheme) -> None:
    values = np.concatenate([fresh().normal(0, 1, COUNT), fresh().uniform(-20, 20, 10)])
    low, high = least_divergence_range(histogram(values), scheme)
    assert 2.5 < high < 10
    assert low == pytest.approx(-high)


def test_both_ends_keep_to_what_was_seen() -> None:
    values = np.concatenate([np.abs(fresh().normal(0, 1, COUNT)), [30.0, -0.5]])
    low, high = least_divergence_range(histogram(values), "asymmetric")
    assert high < 15
    assert low == -0.5


# Zeros


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("method", ["mse", "entropy"])
def test_zeros_change_nothing(method: HistogramMethod, scheme: Scheme) -> None:
    """As many as a ReLU makes, and many more."""
    values = np.abs(fresh().normal(0, 1, COUNT))
    found = best_range(histogram(values), method, scheme, 99.0)
    for zeros in (COUNT, 20 * COUNT):
        assert best_range(histogram(np.append(values, np.zeros(zeros))), method, scheme, 99.0) == found
    assert found.low == 0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", METHODS)
def test_zeros_alone_have_a_range_of_zero(method: HistogramMethod) -> None:
    assert best_range(histogram(np.zeros((2, 3, 4))), method, "asymmetric", 99.0) == Range(0.0, 0.0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("method", METHODS)
def test_a_few_values_have_a_range(method: HistogramMethod, scheme: Scheme) -> None:
    values: Array = np.array([0, 0, 0.25, 1.0, -1e-20], np.float32)
    low, high = best_range(histogram(values), method, scheme, 100.0)
    assert low == pytest.approx(0, abs=1e-3)
    assert 0.9 < high <= 1
