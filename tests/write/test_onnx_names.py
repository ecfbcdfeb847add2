"""Layers that are called like a part of another would take its place in an ONNX file."""

from dataclasses import replace

import numpy as np
import pytest
from graphs import tiny_xception
from onnx_support import min_max_plan

from edgex.errors import ModelError
from edgex.graph.ir import Graph, Input, Node, Relu
from edgex.write.onnx import onnx_model

GRAPH = tiny_xception()
IMAGES = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)


def renamed(old: str, new: str) -> Graph:
    nodes = [
        replace(
            node,
            name=new if node.name == old else node.name,
            inputs=tuple(new if name == old else name for name in node.inputs),
        )
        for node in GRAPH.nodes
    ]
    return Graph(GRAPH.name, tuple(nodes), GRAPH.outputs)


@pytest.mark.parametrize("name", ["block1_conv1.kernel", "conv2d.bias", "input.nchw"])
def test_a_layer_called_like_a_part_of_another(name: str) -> None:
    onnx_model(renamed("add", "block1_conv1.kernels"))
    with pytest.raises(ModelError, match=rf"values named {name}") as caught:
        onnx_model(renamed("add", name))
    assert caught.value.fix


@pytest.mark.parametrize("name", ["add_1.quantized", "conv2d.kernel.quantized", "predictions.raw"])
def test_a_layer_called_like_a_part_of_another_in_int8(name: str) -> None:
    spoilt = renamed("block3_sepconv1_act", name)
    plan = min_max_plan(spoilt, IMAGES)
    with pytest.raises(ModelError, match=rf"values named {name}"):
        onnx_model(spoilt, plan)


def test_an_input_that_is_the_output() -> None:
    nodes = (Node("image", Input((4, 4, 3))), Node("relu", Relu(), ("image",)))
    onnx_model(Graph("g", nodes, ("relu",)))
    with pytest.raises(ModelError, match="values named image"):
        onnx_model(Graph("g", nodes, ("image",)))
