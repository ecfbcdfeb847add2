"""2:4 sparsity, told from the weights that a file stores."""

from pathlib import Path

import numpy as np
import pytest
from graphs import tiny_xception
from onnx import helper, numpy_helper
from onnx_support import min_max_plan

from edgex.graph.ir import Array, Conv2D, Graph
from edgex.lint.onnx_file import OnnxFile
from edgex.lint.sparsity import dense_kernels, has_two_four_sparsity, is_two_four_sparse
from edgex.write.onnx import OnnxForm, onnx_model

KERNEL = np.random.default_rng(0).normal(size=(6, 8, 3, 3)).astype(np.float32)


def without(kernel: Array, *channels: int) -> Array:
    """A kernel (K, C, R, S) with zeros in some of its input channels."""
    pruned = kernel.copy()
    pruned[:, list(channels)] = 0
    return pruned


@pytest.mark.parametrize(
    ("kernel", "sparse"),
    [
        (KERNEL, False),
        (without(KERNEL, 0, 1, 6, 7), True),
        (without(KERNEL, 0, 1, 2, 3, 4, 5), True),
        (without(KERNEL, 0, 1, 2, 3), False),  # half are zeros, but the second group has none
        (without(KERNEL, 2, 3, 4, 5)[:, 1:], False),  # seven channels
        (without(KERNEL[:, :1], 0), False),  # depthwise
        (without(KERNEL[:, :, :1, :1], 0, 2, 5, 7), True),
    ],
)
def test_the_pattern(kernel: Array, sparse: bool) -> None:
    assert is_two_four_sparse(kernel) is sparse


def test_one_weight_too_many_breaks_it() -> None:
    kernel = without(KERNEL, 0, 1, 6, 7)
    kernel[5, 6, 2, 1] = 1e-3
    assert not is_two_four_sparse(kernel)


def test_zeros_may_lie_elsewhere_at_each_position() -> None:
    kernel = KERNEL.copy()
    for index in np.ndindex(6, 2, 3, 3):
        output, group, row, column = index
        kernel[output, 4 * group + np.random.default_rng(index).permutation(4)[:2], row, column] = 0
    assert is_two_four_sparse(kernel)


def pruned_pointwise(graph: Graph) -> Graph:
    """A graph whose 1x1 convolutions are 2:4 sparse."""
    for node in graph.nodes:
        if isinstance(node.op, Conv2D) and node.params["kernel"].shape[:2] == (1, 1):
            node.params["kernel"].setflags(write=True)
            node.params["kernel"][:, :, 1::2] = 0
    return graph


@pytest.mark.parametrize("form", ["int8", "float16", "float32"])
def test_files_of_every_precision(form: str) -> None:
    images = np.random.default_rng(1).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    for graph, sparse in ((tiny_xception(), False), (pruned_pointwise(tiny_xception()), True)):
        if form == "int8":
            plan = min_max_plan(graph, images, "symmetric")
            model = onnx_model(graph, plan, OnnxForm(activation_type="int8", bias="float"))
        else:
            model = onnx_model(graph, None, OnnxForm(float_type=form))
        assert has_two_four_sparsity(OnnxFile(Path("model.onnx"), model)) is sparse


@pytest.mark.parametrize("shape", [(), (8,), (6, 8), (0, 8, 1, 1)])
def test_what_is_no_kernel(shape: tuple[int, ...]) -> None:
    kernel = numpy_helper.from_array(np.ones(shape, np.float32), "kernel")
    nodes = [helper.make_node("Conv", ["image", "kernel"], ["made"], "conv")]
    file = OnnxFile(Path("odd.onnx"), helper.make_model(helper.make_graph(nodes, "odd", [], [], [kernel])))
    assert not has_two_four_sparsity(file)
    assert dense_kernels(file) == []
