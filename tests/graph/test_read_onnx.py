"""What a float ONNX file computes, the graph computes that is read from it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper
from onnx_files import (
    BATCH_NORM,
    CHANNELS,
    IMAGES,
    KERNEL,
    SIDE,
    Made,
    after_stem,
    agrees,
    computed_size,
    node,
    pooled,
    run,
    save,
    weights,
    whole,
)

from edgex.errors import ModelError, UsageError
from edgex.graph.ir import Conv2D, DepthwiseConv2D, Flatten, MaxPool2D
from edgex.graph.passes import prepare
from edgex.graph.read_onnx import read_onnx
from edgex.write.onnx import onnx_model


def gelu_as_torch() -> Made:
    """x * (1 + erf(x / sqrt 2)) * 0.5"""
    return after_stem(
        node("Div", ["x", "root"], ["a"]),
        node("Erf", ["a"], ["b"]),
        node("Add", ["b", "one"], ["c"]),
        node("Mul", ["x", "c"], ["d"]),
        node("Mul", ["d", "half"], ["result"]),
        root=np.array(2**0.5, np.float32),
        one=np.array(1, np.float32),
        half=np.array(0.5, np.float32),
    )


def softplus_of_torch() -> Made:
    """Of what is large anyway, nothing."""
    return after_stem(
        node("Softplus", ["x"], ["s"]),
        node("Greater", ["x", "twenty"], ["large"]),
        node("Where", ["large", "x", "s"], ["result"]),
        twenty=np.array(20, np.float32),
    )


def pads_as_traced() -> Made:
    """F.pad(x, (1, 2, 0, 1)), whose pads ONNX has in another order."""
    return after_stem(
        node("ConstantOfShape", ["four"], ["zeros"], value=numpy_helper.from_array(whole(0))),
        node("Concat", ["pads", "zeros"], ["eight"], axis=0),
        node("Reshape", ["eight", "pairs"], ["sides"]),
        node("Slice", ["sides", "last", "before", "first", "back"], ["reversed"]),
        node("Transpose", ["reversed"], ["turned"], perm=[1, 0]),
        node("Reshape", ["turned", "row"], ["flat"]),
        node("Cast", ["flat"], ["all"], to=TensorProto.INT64),
        node("Pad", ["x", "all"], ["result"]),
        four=whole(4),
        pads=whole(1, 2, 0, 1),
        pairs=whole(-1, 2),
        last=whole(-1),
        before=whole(-(2**63) + 1),
        first=whole(0),
        back=whole(-1),
        row=whole(-1),
    )


def view_by_shape() -> Made:
    """x.view(x.size(0), -1), as torch traces it."""
    return after_stem(
        node("GlobalMaxPool", ["x"], ["p"]),
        node("Shape", ["p"], ["shape"]),
        node("Gather", ["shape", "zero"], ["batch"]),
        node("Unsqueeze", ["batch", "first"], ["one"]),
        node("Concat", ["one", "rest"], ["both"], axis=0),
        node("Reshape", ["p", "both"], ["v"]),
        node("Gemm", ["v", "k", "b"], ["result"], transB=1),
        zero=np.array(0, np.int64),
        first=whole(0),
        rest=whole(-1),
        k=weights(4, 8),
        b=weights(4),
    )


def squeeze_and_excite() -> Made:
    return after_stem(
        node("ReduceMean", ["x"], ["v"], axes=[2, 3], keepdims=0),
        node("Gemm", ["v", "k"], ["g"]),
        node("Sigmoid", ["g"], ["s"]),
        node("Reshape", ["s", "shape"], ["image_gate"]),
        node("Mul", ["x", "image_gate"], ["result"]),
        k=weights(8, 8),
        shape=whole(-1, 8, 1, 1),
    )


FOREIGN: dict[str, Made] = {
    "conv without padding": ([node("Conv", ["image", "w"], ["result"])], KERNEL),
    "conv same upper": ([node("Conv", ["image", "w"], ["result"], strides=[2, 2], auto_pad="SAME_UPPER")], KERNEL),
    "conv same lower": ([node("Conv", ["image", "w"], ["result"], strides=[2, 2], auto_pad="SAME_LOWER")], KERNEL),
    "depthwise": ([node("Conv", ["image", "w"], ["result"], group=CHANNELS)], {"w": weights(CHANNELS, 1, 3, 3)}),
    "depthwise times two": (
        [node("Conv", ["image", "w"], ["result"], group=CHANNELS)],
        {"w": weights(2 * CHANNELS, 1, 3, 3)},
    ),
    "grouped": ([node("Conv", ["image", "w"], ["result"], group=2)], {"w": weights(8, CHANNELS // 2, 3, 3)}),
    "batch norm": BATCH_NORM,
    "bias added": after_stem(node("Add", ["x", "b"], ["result"]), b=weights(8, 1, 1)),
    "constant minus": after_stem(node("Sub", ["b", "x"], ["result"]), b=weights(1, 8, 1, 1)),
    "minus constant": after_stem(node("Sub", ["x", "b"], ["result"]), b=weights(1, 8, 1, 1)),
    "divided": after_stem(node("Div", ["x", "b"], ["result"]), b=weights(8, 1, 1) + 3),
    "normalized": (
        [
            node("Sub", ["image", "mean"], ["a"]),
            node("Div", ["a", "deviation"], ["b"]),
            node("Conv", ["b", "w"], ["result"]),
        ],
        {**KERNEL, "mean": weights(1, CHANNELS, 1, 1), "deviation": weights(1, CHANNELS, 1, 1) + 3},
    ),
    "clip": after_stem(
        node("Clip", ["x", "low", "high"], ["result"]), low=np.array(0, np.float32), high=np.array(6, np.float32)
    ),
    "swish": after_stem(node("Sigmoid", ["x"], ["s"]), node("Mul", ["x", "s"], ["result"])),
    "clip on both sides": after_stem(
        node("Clip", ["x", "low", "high"], ["result"]), low=np.array(-1, np.float32), high=np.array(2, np.float32)
    ),
    "clip without bounds": after_stem(node("Clip", ["x"], ["result"])),
    "clip from above": after_stem(
        node("Clip", ["x", "low", "high"], ["result"]), low=np.array(-3.4028235e38, "f4"), high=np.array(1, "f4")
    ),
    "clip from below": after_stem(node("Clip", ["x", "low"], ["result"]), low=np.array(-1, np.float32)),
    "relu with a slope for each channel": after_stem(node("PRelu", ["x", "s"], ["result"]), s=weights(8, 1, 1)),
    "relu with one slope": after_stem(node("PRelu", ["x", "s"], ["result"]), s=weights(1)),
    "softplus of torch": softplus_of_torch(),
    "negative": after_stem(node("Neg", ["x"], ["result"])),
    "hard swish": after_stem(node("HardSwish", ["x"], ["result"])),
    "gelu of torch": gelu_as_torch(),
    "max pool with ceil": after_stem(
        node("MaxPool", ["x"], ["result"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    ),
    "max pool with ceil and padding": after_stem(
        node("MaxPool", ["x"], ["result"], kernel_shape=[3, 3], strides=[3, 3], pads=[1, 1, 1, 1], ceil_mode=1)
    ),
    "average pool with padding counted": after_stem(
        node("AveragePool", ["x"], ["result"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    ),
    "average pool with padding left out": after_stem(
        node("AveragePool", ["x"], ["result"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    ),
    "pad": after_stem(node("Pad", ["x", "pads"], ["result"]), pads=whole(0, 0, 1, 2, 0, 0, 3, 0)),
    "pad as torch traces it": pads_as_traced(),
    "resized to a computed size": computed_size(),
    "difference": after_stem(node("Relu", ["x"], ["r"]), node("Sub", ["r", "x"], ["result"])),
    "product of constants": after_stem(
        node("Mul", ["a", "b"], ["c"]), node("Mul", ["x", "c"], ["result"]), a=weights(8, 1, 1), b=weights(1)
    ),
    "slice": after_stem(
        node("Slice", ["x", "from", "to", "axes"], ["result"]),
        **{"from": whole(1, -7), "to": whole(2**62, -1), "axes": whole(2, 3)},
    ),
    "concat": after_stem(node("Relu", ["x"], ["r"]), node("Concat", ["x", "r"], ["result"], axis=1)),
    "sum of one": after_stem(node("Sum", ["x"], ["result"])),
    "sum of three": after_stem(node("Relu", ["x"], ["r"]), node("Sum", ["x", "r", "x"], ["result"])),
    "flattened image": after_stem(
        node("Flatten", ["x"], ["v"]),
        node("Relu", ["v"], ["r"]),
        node("Gemm", ["r", "k", "b"], ["result"], transB=1),
        k=weights(4, 8 * SIDE * SIDE),
        b=weights(4),
    ),
    "flattened image times a matrix": after_stem(
        node("Reshape", ["x", "shape"], ["v"]),
        node("MatMul", ["v", "k"], ["m"]),
        node("Add", ["m", "b"], ["result"]),
        shape=whole(0, -1),
        k=weights(8 * SIDE * SIDE, 4),
        b=weights(4),
    ),
    "view by shape": view_by_shape(),
    "squeeze and excite": squeeze_and_excite(),
    "mean kept": after_stem(node("ReduceMean", ["x"], ["result"], axes=[-1, -2])),
    "squeezed": after_stem(
        node("GlobalAveragePool", ["x"], ["p"]), node("Squeeze", ["p", "axes"], ["result"]), axes=whole(2, 3)
    ),
    "dropout and identity": pooled(node("Dropout", ["v"], ["d"]), node("Identity", ["d"], ["result"])),
    "softmax": pooled(node("Softmax", ["v"], ["result"], axis=1)),
    "channels last for a while": after_stem(
        node("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1]),
        node("Add", ["t", "b"], ["a"]),
        node("Transpose", ["a"], ["result"], perm=[0, 3, 1, 2]),
        b=weights(8),
    ),
    "resized by a factor": after_stem(
        node("Resize", ["x", "", "s"], ["result"], mode="linear", coordinate_transformation_mode="pytorch_half_pixel"),
        s=np.array([1, 1, 2, 4 / 3], np.float32),
    ),
    "resized to a size": after_stem(
        node("Shape", ["x"], ["shape"]),
        node("Slice", ["shape", "from", "to"], ["head"]),
        node("Concat", ["head", "tail"], ["size"], axis=0),
        node("Resize", ["x", "", "", "size"], ["result"], mode="linear"),
        **{"from": whole(0), "to": whole(2), "tail": whole(5, 2 * SIDE)},
    ),
    "resized to the nearest": after_stem(
        node("Resize", ["x", "", "s"], ["result"], coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        s=np.array([1, 1, 3, 2], np.float32),
    ),
    "resized to rows and columns": after_stem(
        node("Gather", ["x", "rows"], ["r"], axis=2),
        node("Gather", ["r", "columns"], ["result"], axis=-1),
        rows=np.repeat(np.arange(SIDE), 2),
        columns=whole(1, 4, 7),
    ),
    "resized three times, to the nearest": after_stem(
        node("Resize", ["x", "", "s"], ["result"]), s=np.array([1, 1, 3, 3], np.float32)
    ),
    "constants as nodes": after_stem(
        node("Constant", [], ["c"], value=numpy_helper.from_array(weights(8, 1, 1))),
        node("Mul", ["x", "c"], ["result"]),
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_computes_what_the_file_does(tmp_path: Path, name: str) -> None:
    agrees(save(tmp_path / "model.onnx", FOREIGN[name]))


def test_can_fail(tmp_path: Path) -> None:
    """The comparison above sees a flattened image in the wrong order."""
    path = save(tmp_path / "model.onnx", FOREIGN["flattened image"])
    graph = read_onnx(path)
    (dense,) = (each for each in graph.nodes if each.name == "result")
    shuffled = dense.with_params(kernel=dense.params["kernel"].reshape(SIDE * SIDE, 8, 4).swapaxes(0, 1).reshape(-1, 4))
    wrong = onnx_model(prepare(graph.rewrite({dense.name: [shuffled]}))).SerializeToString()
    found = run(wrong, IMAGES.transpose(0, 2, 3, 1))
    assert np.abs(found - run(path.read_bytes(), IMAGES)).max() > 0.1


def test_what_it_becomes(tmp_path: Path) -> None:
    graph = agrees(save(tmp_path / "model.onnx", FOREIGN["depthwise times two"]))
    assert graph.inputs[0].op.shape == (SIDE, SIDE, CHANNELS)
    assert isinstance(graph["result"].op, DepthwiseConv2D)
    graph = agrees(save(tmp_path / "model.onnx", FOREIGN["grouped"]))
    assert graph["result"].op == Conv2D(groups=2)
    graph = agrees(save(tmp_path / "model.onnx", FOREIGN["max pool with ceil"]))
    assert graph["result"].op == MaxPool2D((2, 2), (2, 2), ((0, 1), (0, 1)))
    graph = agrees(save(tmp_path / "model.onnx", FOREIGN["squeezed"]))
    assert not any(isinstance(each.op, Flatten) for each in graph.nodes)


def test_names_are_those_of_the_nodes(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["image", "w"], ["1"], name="/entry/conv1/Conv"),
        node("Relu", ["1"], ["2"], name="entry/conv1/Conv"),
        node("Relu", ["2"], ["3"]),
        node("Relu", ["3"], ["result"], name="/last"),
    ]
    graph = agrees(save(tmp_path / "model.onnx", (nodes, KERNEL)))
    assert [each.name for each in graph.nodes] == ["image", "entry/conv1/Conv", "entry/conv1/Conv_1", "3", "result"]


@pytest.mark.parametrize(
    ("image", "first"),
    [(("N", 3, 8, 8), True), (("N", 8, 8, 3), False), (("N", 3, 3, 3), True), (("N", 16, 8, 8), True)],
)
def test_where_the_channels_are(tmp_path: Path, image: Sequence[Any], first: bool) -> None:
    nodes = [node("Relu", ["image"], ["result"])]
    (given,) = read_onnx(save(tmp_path / "model.onnx", (nodes, {}), image)).inputs
    assert given.op.shape == tuple(image[axis] for axis in ((2, 3, 1) if first else (1, 2, 3)))


def test_open_sizes(tmp_path: Path) -> None:
    path = save(tmp_path / "model.onnx", FOREIGN["view by shape"], ("N", CHANNELS, "H", "W"))
    with pytest.raises(UsageError, match="height and width of its input 'image' are open"):
        read_onnx(path)
    assert read_onnx(path, input_size=32).inputs[0].op.shape == (32, 32, CHANNELS)


@pytest.mark.parametrize("size", [0, 2])
def test_sizes_that_do_not_fit(tmp_path: Path, size: int) -> None:
    path = save(tmp_path / "model.onnx", FOREIGN["conv without padding"])
    with pytest.raises(UsageError, match=r"size"):
        read_onnx(path, input_size=size)


def as_strided(places: np.ndarray) -> Made:
    """What the newer exporter of PyTorch has behind a pool of a model with its channels last."""
    return after_stem(
        node("GlobalAveragePool", ["x"], ["p"]),
        node("Reshape", ["p", "all"], ["row"]),
        node("Gather", ["row", "places"], ["again"], name="odd"),
        node("Relu", ["again"], ["result"]),
        all=whole(-1),
        places=places,
    )


def test_values_taken_apart_and_put_back(tmp_path: Path) -> None:
    path = save(tmp_path / "model.onnx", as_strided(np.arange(8).reshape(1, 8, 1, 1)), (1, CHANNELS, SIDE, SIDE))
    agrees(path, IMAGES[:1])
    backwards = save(tmp_path / "model.onnx", as_strided(np.arange(8)[::-1].reshape(1, 8, 1, 1)))
    with pytest.raises(ModelError, match=r"'odd' .* has values in another order"):
        read_onnx(backwards)


def per_image(factor: int) -> Made:
    """The same, for any number of images: places are numbered while it runs."""
    nodes, constants = as_strided(whole(0))
    computed = [
        node("Shape", ["image"], ["n"], start=0, end=1),
        node("Squeeze", ["n"], ["images"]),
        node("Range", ["zero", "images", "one"], ["range"]),
        node("Mul", ["range", "factor"], ["starts"]),
        node("Unsqueeze", ["starts", "axes"], ["u"]),
        node("Add", ["u", "channels"], ["places"]),
    ]
    del constants["places"]
    numbers = {
        "zero": np.array(0),
        "one": np.array(1),
        "factor": np.array(factor),
        "axes": whole(1, 2, 3),
        "channels": np.arange(8).reshape(1, 8, 1, 1),
    }
    return [*nodes[:2], *computed, *nodes[2:]], {**constants, **numbers}


def test_values_of_any_number_of_images(tmp_path: Path) -> None:
    agrees(save(tmp_path / "model.onnx", per_image(8)))
    with pytest.raises(ModelError, match=r"'odd' .* has values in another order"):
        read_onnx(save(tmp_path / "model.onnx", per_image(4)))


def test_numbers_of_images_are_for_nothing_else(tmp_path: Path) -> None:
    nodes, constants = per_image(8)
    added = [*nodes[:-2], node("Add", ["x", "places"], ["result"], name="odd")]
    with pytest.raises(ModelError, match=r"'odd' .* has no constant as input 1"):
        read_onnx(save(tmp_path / "model.onnx", (added, constants)))
