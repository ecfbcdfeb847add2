"""What preparation refuses: numbers that are not finite any more, and names that a part of a layer needs."""

from dataclasses import replace

import numpy as np
import pytest
from graphs import tiny_xception
from pass_cases import graph, layer, norm, weights

from edgex.errors import ModelError
from edgex.graph.ir import BatchNorm, Conv2D, Elu, Graph, LeakyRelu, Node, Relu, SeparableConv2D
from edgex.graph.passes import prepare
from edgex.write.keras import keras_file


def normalized(epsilon: float = 1e-3, variance: float = 1.0, gamma: float = 1.0) -> Graph:
    before = graph(layer("conv", Conv2D(), "image", kernel=weights(1, 1, 6, 4)), norm("norm", "conv", 4))
    node = before["norm"]
    params = {"variance": np.full(4, variance, np.float32), "gamma": np.full(4, gamma, np.float32)}
    spoilt = replace(node, op=BatchNorm(epsilon)).with_params(**params)
    return before.rewrite({"norm": [spoilt]})


@pytest.mark.parametrize(
    ("epsilon", "variance", "gamma"),
    [(0.0, 0.0, 1.0), (0.0, 0.0, 0.0), (-1.0, 0.5, 1.0), (float("nan"), 1.0, 1.0), (1e-3, 1e-3, 3e38)],
)
def test_batch_norm_that_is_not_finite(epsilon: float, variance: float, gamma: float) -> None:
    assert prepare(normalized())
    with pytest.raises(ModelError, match=r"NaN or infinite.* in conv\.") as caught:
        prepare(normalized(epsilon, variance, gamma))
    assert caught.value.fix


@pytest.mark.parametrize("op", [LeakyRelu(float("nan")), Elu(float("inf")), Relu(1e300), LeakyRelu(-1e39)])
def test_argument_that_is_not_finite(op: LeakyRelu | Elu | Relu) -> None:
    spoilt = graph(layer("act", op, "image"))
    for use in (prepare, keras_file):
        with pytest.raises(ModelError, match=r"in act\."):
            use(spoilt)


def test_few_of_many_are_named() -> None:
    spoilt = tiny_xception()
    for node in spoilt.nodes:
        if "kernel" in node.params:
            spoilt = spoilt.rewrite({node.name: [node.with_params(kernel=node.params["kernel"] * np.nan)]})
    with pytest.raises(ModelError, match=r"block1_conv1, .* and \d more"):
        prepare(spoilt)


def test_name_that_a_part_of_a_layer_needs() -> None:
    separable = layer("sep", SeparableConv2D(), "image", depthwise=weights(1, 1, 6, 1), pointwise=weights(1, 1, 6, 4))
    with pytest.raises(ModelError, match=r"two nodes are named sep\.depthwise") as caught:
        prepare(graph(separable, Node("sep.depthwise", Relu(), ("sep",))))
    assert caught.value.fix
