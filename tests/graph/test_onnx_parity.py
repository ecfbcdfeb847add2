"""What was read of an ONNX file is compared with what ONNX Runtime makes of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from onnx_files import CHANNELS, SIDE, Made, after_stem, node, pooled, save, weights

from edgex.errors import ModelError
from edgex.graph import read_onnx as reader
from edgex.graph.ir import Graph, Node, Relu
from edgex.graph.passes import prepare
from edgex.graph.read_onnx import read_onnx
from edgex.pipeline import QuantizeOptions, export, train_model
from edgex.pipeline.onnx_parity import compare_with_file
from edgex.target import load_target

MAP = after_stem(node("Relu", ["x"], ["result"]))
SCORES = pooled(node("Gemm", ["v", "head"], ["result"]), head=weights(8, 5))
SURE = pooled(
    node("Gemm", ["v", "head"], ["logits"]), node("Softmax", ["logits"], ["result"], axis=1), head=60 * weights(8, 5)
)
"""Of one class, to the last place of float32."""
TRANSPOSED = [node("Transpose", ["image"], ["first"], perm=[0, 3, 1, 2]), *MAP[0]]
ONE, MANY = (1, CHANNELS, SIDE, SIDE), ("N", CHANNELS, SIDE, SIDE)


def spoilt(graph: Graph, by: float = 0.125) -> Graph:
    """With one weight of its first convolution off by a part of the largest."""
    found = next(each for each in graph.nodes if "kernel" in each.params)
    kernel = np.array(found.params["kernel"])
    kernel.flat[kernel.size // 2] += by * np.abs(kernel).max()
    changed = replace(found, params={**found.params, "kernel": kernel})
    return replace(graph, nodes=tuple(changed if each is found else each for each in graph.nodes))


def in_half(path: Path) -> Path:
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(model, path)
    return path


def read(path: Path, **options: Any) -> Graph:
    return prepare(read_onnx(path, **options))


@pytest.mark.parametrize("image", [ONE, MANY], ids=["one", "many"])
@pytest.mark.parametrize("made", [MAP, SCORES, SURE], ids=["map", "scores", "sure"])
def test_a_graph_that_is_the_files_passes(made: Made, image: tuple[int | str, ...], tmp_path: Path) -> None:
    path = save(tmp_path / "net.onnx", made, image)
    assert compare_with_file(path, read(path)) == ()


@pytest.mark.parametrize("made", [MAP, SCORES, SURE], ids=["map", "scores", "sure"])
def test_one_that_is_not_is_refused(made: Made, tmp_path: Path) -> None:
    path = save(tmp_path / "net.onnx", made)
    with pytest.raises(ModelError, match=r"net\.onnx gives something else in ONNX Runtime") as error:
        compare_with_file(path, spoilt(read(path)))
    assert error.value.fix is not None


def test_channels_may_come_last(tmp_path: Path) -> None:
    nodes = [*TRANSPOSED]
    nodes[1] = node("Conv", ["first", "w"], ["x"], pads=[1, 1, 1, 1])
    path = save(tmp_path / "net.onnx", (nodes, MAP[1]), ("N", SIDE, SIDE, CHANNELS))
    assert compare_with_file(path, read(path)) == ()
    with pytest.raises(ModelError, match="something else"):
        compare_with_file(path, spoilt(read(path)))


@pytest.mark.parametrize("image", [MANY, ("N", CHANNELS, "H", "W")], ids=["fixed", "open"])
def test_images_may_be_of_another_size_than_the_files(image: tuple[int | str, ...], tmp_path: Path) -> None:
    path = save(tmp_path / "net.onnx", SCORES, image)
    assert compare_with_file(path, read(path, input_size=20)) == ()


def test_half_precision_is_compared_as_exactly_as_it_is(tmp_path: Path) -> None:
    path = in_half(save(tmp_path / "net.onnx", SCORES))
    assert compare_with_file(path, read(path)) == ()


def test_half_precision_may_leave_classes_without_a_share(tmp_path: Path) -> None:
    path = in_half(save(tmp_path / "net.onnx", SURE))
    with np.errstate(all="raise"):
        assert compare_with_file(path, read(path)) == ()


def test_one_number_in_double_does_not_make_it_coarse(tmp_path: Path) -> None:
    path = save(tmp_path / "net.onnx", SCORES)
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.array([1.0]), "unused"))
    onnx.save(model, path)
    assert read(path).notes
    with pytest.raises(ModelError, match="something else"):
        compare_with_file(path, spoilt(read(path), 0.01))


@pytest.mark.parametrize("dtype", [TensorProto.UINT8, TensorProto.INT8, TensorProto.INT64, TensorProto.BOOL])
def test_images_may_be_whole_numbers(dtype: int, tmp_path: Path) -> None:
    cast = node("Cast", ["image"], ["real"], to=TensorProto.FLOAT)
    nodes = [cast, node("Conv", ["real", "w"], ["x"], pads=[1, 1, 1, 1]), *SCORES[0][1:]]
    path = save(tmp_path / "net.onnx", (nodes, SCORES[1]))
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.elem_type = dtype
    onnx.save(model, path)
    assert compare_with_file(path, read(path)) == ()
    with pytest.raises(ModelError, match="something else"):
        compare_with_file(path, spoilt(read(path)))


def test_a_network_that_scales_its_image_is_shown_one_of_bytes(tmp_path: Path) -> None:
    """One around 0 is nearly constant behind the division, and a nearly constant one tells little of a kernel."""
    scaled = [node("Div", ["image", "bytes"], ["real"]), node("Conv", ["real", "w"], ["x"], pads=[1, 1, 1, 1])]
    clipped = [node("Clip", ["x", "low", "high"], ["result"])]
    constants = {**MAP[1], "bytes": np.float32(255), "low": np.float32(0), "high": np.float32(0.5)}
    path = save(tmp_path / "net.onnx", ([*scaled, *clipped], constants))
    graph = read(path)
    assert graph["result"].op == Relu(0.5)
    assert compare_with_file(path, graph) == ()
    with pytest.raises(ModelError, match="something else"):
        compare_with_file(path, graph.rewrite({"result": [Node("result", Relu(), graph["result"].inputs)]}))


@pytest.mark.parametrize("last", ["Sigmoid", "Softmax"])
def test_a_sure_network_is_compared_by_its_logits(last: str, tmp_path: Path) -> None:
    reshaped = [node("Add", ["v", "nine"], ["w9"]), node(last, ["w9"], ["r"]), node("Reshape", ["r", "to"], ["result"])]
    nine = 9 * np.eye(1, 8, dtype=np.float32)[0] if last == "Softmax" else np.float32(9) * np.ones(8, np.float32)
    path = save(tmp_path / "net.onnx", pooled(*reshaped, nine=nine, to=np.array([-1, 2, 4])))
    assert compare_with_file(path, read(path)) == ()
    with pytest.raises(ModelError, match="something else"):
        compare_with_file(path, spoilt(read(path)))


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    several = save(tmp_path / "several.onnx", SCORES, (4, CHANNELS, SIDE, SIDE))
    (said,) = compare_with_file(several, read(several))
    assert said.startswith("ONNX Runtime cannot run several.onnx on one image")
    infinite = pooled(node("Div", ["v", "zero"], ["result"]), zero=np.zeros(8, np.float32))
    path = save(tmp_path / "infinite.onnx", infinite)
    (said,) = compare_with_file(path, read(several))
    assert said.startswith("What infinite.onnx gives for noise is not finite")
    halfopen = save(tmp_path / "open.onnx", SCORES, ("N", CHANNELS, SIDE, "W"))
    (said,) = compare_with_file(halfopen, read(halfopen, input_size=20))
    assert said.startswith("ONNX Runtime cannot run open.onnx")


def test_nothing_is_made_of_what_is_misread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here since the reader takes every leak of 0.3 for one of 0.2."""
    bent = [node("Conv", ["image", "w"], ["y"]), node("LeakyRelu", ["y"], ["x"], alpha=0.3)]
    constants = {**SCORES[1], "w": weights(8, 3, 3, 3), "head": weights(8, 10)}
    path = save(tmp_path / "net.onnx", ([*bent, *SCORES[0][1:]], constants), ("N", 3, SIDE, SIDE))
    right = reader.read_operator

    def wrong(call: Any) -> Any:
        return right(
            replace(call, attributes={key: 0.2 if key == "alpha" else given for key, given in call.attributes.items()})
        )

    export(path, load_target("cpu"), tmp_path / "right", QuantizeOptions())
    monkeypatch.setattr(reader, "read_operator", wrong)
    with pytest.raises(ModelError, match="something else"):
        export(path, load_target("cpu"), tmp_path / "wrong", QuantizeOptions())
    with pytest.raises(ModelError, match="something else"):
        train_model(path, "digits", tmp_path / "trained.keras")
    assert {each.name for each in tmp_path.iterdir()} == {"net.onnx", "right"}
