"""Bias correction: the mean of what a layer makes, before and after."""

import numpy as np
import pytest
from onnx_support import named
from reference import reference, sqnr
from weighted import LAYERS, demo, one_layer, plan_of, weights, with_quantized_weights

from edgex.execute import tensor_values
from edgex.graph.ir import Array, Conv2D, Graph
from edgex.quantize.correction import correct_biases
from edgex.quantize.rounding import learn_rounding
from edgex.quantize.statistics import layer_statistics

IMAGES = np.random.default_rng(0).integers(-60, 120, (12, 6, 5, 4)).astype(np.float32) * np.float32(2 / 255)
"""Exactly what :func:`weighted.plan_of` stores."""


def mean_error(found: Graph, expected: Graph) -> Array:
    """(channels,)"""
    errors = reference(found, IMAGES)["layer"] - reference(expected, IMAGES)["layer"]
    return np.abs(errors.reshape(-1, errors.shape[-1]).mean(axis=0))


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("layer", LAYERS)
def test_the_mean_error_is_gone(layer: str, biased: bool) -> None:
    op, shape = LAYERS[layer]
    kernel = weights(*shape)
    (channels,) = one_layer(op, kernel).shapes["layer"][-1:]
    graph = one_layer(op, kernel, bias=weights(channels) if biased else None)
    plan = plan_of(graph, 4)
    statistics = layer_statistics(graph, plan, named(IMAGES))
    result = correct_biases(graph, plan, statistics, graph)
    assert result.changed == ("layer",)
    before = mean_error(with_quantized_weights(graph, plan), graph)
    assert before.max() > 1e-3
    assert mean_error(with_quantized_weights(result.graph, plan), graph).max() < 1e-3 * before.max()


def test_kernels_that_were_rounded_before_are_compared_with_the_float_ones() -> None:
    graph = one_layer(Conv2D(padding="same"), weights(3, 3, 4, 6))
    plan = plan_of(graph, 4)
    statistics = layer_statistics(graph, plan, named(IMAGES))
    rounded = learn_rounding(graph, plan, statistics).graph
    before = mean_error(rounded, graph)
    corrected = correct_biases(rounded, plan, statistics, graph).graph
    assert mean_error(corrected, graph).max() < 1e-3 * before.max()
    again = correct_biases(corrected, plan, statistics, graph).graph
    assert (again["layer"].params["bias"] == corrected["layer"].params["bias"]).all()
    assert (corrected["layer"].params["kernel"] == rounded["layer"].params["kernel"]).all()


def test_the_demo_in_4_bits() -> None:
    """On digits that the means do not come from, in the whole network, where shifts add up from layer to layer."""
    graph, plan, calibration, images = demo()
    statistics = layer_statistics(graph, plan, calibration)
    corrected = correct_biases(graph, plan, statistics, graph).graph
    layers = list(statistics)

    def made(graph: Graph) -> list[Array]:
        return tensor_values(graph, layers)(images)

    expected = made(graph)
    nearest, better = (made(with_quantized_weights(candidate, plan)) for candidate in (graph, corrected))

    def shifts(found: list[Array]) -> Array:
        """Of each layer: the power of the channels' mean errors, over that of all its errors."""
        errors = [(a - b).reshape(-1, a.shape[-1]) for a, b in zip(found, expected, strict=True)]
        return np.array([np.square(error.mean(axis=0)).mean() / np.square(error).mean() for error in errors])

    assert np.median(shifts(better)) < np.median(shifts(nearest)) / 3
    assert sqnr(better[-1], expected[-1]) > sqnr(nearest[-1], expected[-1]) + 1.5
