"""What was read of an ONNX file is compared with what ONNX Runtime makes of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_files import CHANNELS, SIDE, Made, after_stem, node, pooled, save, weights

from edgex.errors import ModelError
from edgex.graph import read_onnx as reader
from edgex.graph.ir import Graph
from edgex.graph.passes import prepare
from edgex.graph.read_onnx import read_onnx
from edgex.pipeline import QuantizeOptions, export
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


def spoilt(graph: Graph) -> Graph:
    """With one weight of its first convolution off by an eighth of the largest."""
    found = next(each for each in graph.nodes if "kernel" in each.params)
    kernel = np.array(found.params["kernel"])
    kernel.flat[kernel.size // 2] += np.abs(kernel).max() / 8
    changed = replace(found, params={**found.params, "kernel": kernel})
    return replace(graph, nodes=tuple(changed if each is found else each for each in graph.nodes))


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
    path = save(tmp_path / "net.onnx", SCORES)
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(model, path)
    assert compare_with_file(path, read(path)) == ()


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    several = save(tmp_path / "several.onnx", SCORES, (4, CHANNELS, SIDE, SIDE))
    (said,) = compare_with_file(several, read(several))
    assert said.startswith("ONNX Runtime cannot run several.onnx on one image")
    infinite = pooled(node("Div", ["v", "zero"], ["result"]), zero=np.zeros(8, np.float32))
    path = save(tmp_path / "infinite.onnx", infinite)
    (said,) = compare_with_file(path, read(several))
    assert said.startswith("What infinite.onnx gives for noise is not finite")


def test_nothing_is_written_of_what_is_misread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here since the reader takes every leak of 0.3 for one of 0.2."""
    bent = helper.make_node("LeakyRelu", ["x"], ["result"], alpha=0.3)
    path = save(tmp_path / "net.onnx", after_stem(bent, w=weights(8, 3, 3, 3)), ("N", 3, SIDE, SIDE))
    right = reader.read_operator

    def wrong(call: Any) -> Any:
        return right(replace(call, attributes={**call.attributes, "alpha": 0.2}))

    export(path, load_target("cpu"), tmp_path / "right", QuantizeOptions())
    monkeypatch.setattr(reader, "read_operator", wrong)
    with pytest.raises(ModelError, match="something else"):
        export(path, load_target("cpu"), tmp_path / "wrong", QuantizeOptions())
    assert not (tmp_path / "wrong").exists()
