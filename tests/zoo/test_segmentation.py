"""The Modified Aligned Xception and DeepLab V3+ against their paper."""

import math
from collections.abc import Iterator

import pytest

from edgex.graph.ir import (
    BatchNorm,
    Concat,
    Conv2D,
    DepthwiseConv2D,
    Graph,
    MaxPool2D,
    Node,
    Relu,
    Resize,
)
from edgex.inspection import inspect_graph
from edgex.zoo import build


def chain_to(graph: Graph, name: str) -> Iterator[Node]:
    """Back from a tensor along first inputs, to the image."""
    while graph[name].inputs:
        yield graph[name]
        name = graph[name].inputs[0]


def separable(read: int, made: int) -> int:
    """Parameters: two kernels and four values a channel for each of two batch norms."""
    return 9 * read + 4 * read + read * made + 4 * made


def pointwise(read: int, made: int) -> int:
    return read * made + 4 * made


def backbone_parameters() -> int:
    stem = 9 * 3 * 32 + 4 * 32 + 9 * 32 * 64 + 4 * 64
    entry = sum(
        separable(read, made) + 2 * separable(made, made) + pointwise(read, made)
        for read, made in ((64, 128), (128, 256), (256, 728))
    )
    middle = 16 * 3 * separable(728, 728)
    exit_flow = separable(728, 728) + separable(728, 1024) + separable(1024, 1024) + pointwise(728, 1024)
    return stem + entry + middle + exit_flow + separable(1024, 1536) + separable(1536, 1536) + separable(1536, 2048)


def test_aligned_xception_by_hand() -> None:
    graph = build("aligned_xception")
    assert inspect_graph(graph).parameters == backbone_parameters() + 2048 * 1000 + 1000
    layers = [node for node in graph.nodes if isinstance(node.op, Conv2D) and "shortcut" not in node.name]
    assert len(layers) == 65  # pointwise halves stand for separable ones
    assert not [node for node in graph.nodes if isinstance(node.op, MaxPool2D)]


@pytest.mark.parametrize("output_stride", [32, 16, 8])
def test_strides_and_rates(output_stride: int) -> None:
    graph = build("aligned_xception", output_stride=output_stride, width=0.05, input_size=256)
    strides = [
        node.op.strides[0] for node in chain_to(graph, "avg_pool") if isinstance(node.op, Conv2D | DepthwiseConv2D)
    ]
    assert math.prod(strides) == output_stride
    assert graph.shapes["block22_sepconv3_act"][:2] == (256 // output_stride,) * 2
    rates = {
        int(node.name.split("_")[0].removeprefix("block")): node.op.dilation[0]
        for node in graph.nodes
        if isinstance(node.op, DepthwiseConv2D)
    }
    # Behind each halving left out, rates double: that of block 21 at 16, and that of block 4 too at 8
    middle, exit_flow = {32: (1, 1), 16: (1, 2), 8: (2, 4)}[output_stride]
    assert rates == {
        **dict.fromkeys((2, 3, 4), 1),
        **dict.fromkeys(range(5, 22), middle),
        22: exit_flow,
    }


def test_norm_and_relu_follow_each_depthwise() -> None:
    graph = build("deeplab_v3plus", width=0.05, depth=0.1, input_size=33)
    depthwise = [node for node in graph.nodes if isinstance(node.op, DepthwiseConv2D)]
    assert len(depthwise) == 9 + 6 + 3 + 3 + 3 + 2
    for node in depthwise:
        (norm,) = graph.consumers[node.name]
        (relu,) = graph.consumers[norm.name]
        (after,) = graph.consumers[relu.name]
        assert isinstance(norm.op, BatchNorm)
        assert relu.op == Relu()
        assert isinstance(after.op, Conv2D)
        assert after.params["kernel"].shape[:2] == (1, 1)


def test_deeplab_by_hand() -> None:
    pyramid = pointwise(2048, 256) * 2 + 3 * separable(2048, 256) + pointwise(5 * 256, 256)
    decoder = pointwise(256, 48) + separable(256 + 48, 256) + separable(256, 256) + 256 * 21 + 21
    graph = build("deeplab_v3plus")
    assert inspect_graph(graph).parameters == backbone_parameters() + pyramid + decoder
    assert graph.shapes["decoder_low_level"] == (129, 129, 48)
    assert graph.shapes[graph.outputs[0]] == (513, 513, 21)


def test_deeplab_does_the_work_that_was_published() -> None:
    """54.17 G multiply-adds at 513×513 with an output stride of 16: xception65_coco_voc_trainaug in its model zoo."""
    assert inspect_graph(build("deeplab_v3plus")).macs == pytest.approx(54.17e9, rel=0.005)


@pytest.mark.parametrize(("output_stride", "rates"), [(32, (3, 6, 9)), (16, (6, 12, 18)), (8, (12, 24, 36))])
def test_the_pyramid_s_rates_grow_with_resolution(output_stride: int, rates: tuple[int, ...]) -> None:
    graph = build("deeplab_v3plus", width=0.05, depth=0.1, input_size=64, output_stride=output_stride)
    found = [graph[f"aspp_sepconv{part}_depthwise"].op for part in (1, 2, 3)]
    assert found == [DepthwiseConv2D(padding="same", dilation=(rate, rate)) for rate in rates]


@pytest.mark.parametrize("size", [(1, 1), (7, 30), (33, 50), (64, 64), (65, 129)])
@pytest.mark.parametrize("output_stride", [32, 16, 8])
def test_any_size_of_image_will_do(size: tuple[int, int], output_stride: int) -> None:
    graph = build("deeplab_v3plus", width=0.05, depth=0.1, classes=3, input_size=size, output_stride=output_stride)
    assert graph.shapes[graph.outputs[0]] == (*size, 3)
    quarter = tuple(math.ceil(side / 4) for side in size)
    low, high = graph["decoder_concat"].inputs[1], graph["decoder_concat"].inputs[0]
    assert graph.shapes[low][:2] == graph.shapes[high][:2] == quarter
    assert [node.name for node in graph.nodes if isinstance(node.op, Resize)] == [
        "aspp_pool_upsampled",
        "decoder_upsampled",
        "predictions",
    ]
    assert [len(node.inputs) for node in graph.nodes if isinstance(node.op, Concat)] == [5, 2]
