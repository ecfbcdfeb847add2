"""What is no ONNX model, or reaches outside its folder, is refused before a rule sees it."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from qdq import TARGETS, Qdq, lint

from edgex.errors import ModelError, OutputError
from edgex.lint.onnx import lint_onnx


def _saved(folder: Path) -> Path:
    file = folder / "model.onnx"
    onnx.save(Qdq(TARGETS["jetson"]).model(17), file)
    return file


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"no\.onnx cannot be read: No such file"):
        lint_onnx(tmp_path / "no.onnx", TARGETS["jetson"])


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"no model at all", b"\x00" * 64])
def test_what_is_no_onnx_model(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.onnx is not an ONNX model"):
        lint_onnx(file, TARGETS["jetson"])


def test_a_file_cut_off_anywhere(tmp_path: Path) -> None:
    file = _saved(tmp_path)
    whole = file.read_bytes()
    for length in range(0, len(whole), 97):
        file.write_bytes(whole[:length])
        with pytest.raises(ModelError):
            lint_onnx(file, TARGETS["jetson"])


def test_a_constant_that_is_cut_off(tmp_path: Path) -> None:
    model = Qdq(TARGETS["jetson"]).model(17)
    scale = next(tensor for tensor in model.graph.initializer if tensor.name == "stem.kernel.scale")
    scale.raw_data = scale.raw_data[:-1]
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"the constant 'stem\.kernel\.scale' cannot be read"):
        lint_onnx(tmp_path / "model.onnx", TARGETS["jetson"])


def test_a_circle(tmp_path: Path) -> None:
    model = Qdq(TARGETS["jetson"]).model(17)
    pool = next(node for node in model.graph.node if node.name == "pool")
    pool.input[0] = "pool"
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="nothing makes pool before it is read"):
        lint_onnx(tmp_path / "model.onnx", TARGETS["jetson"])


def test_random_damage_is_refused_or_found_or_harmless(tmp_path: Path) -> None:
    """Nothing but an EdgexError comes out, whatever the bytes."""
    file = _saved(tmp_path)
    whole = file.read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(500):
        damaged = bytearray(whole)
        for position in random.integers(len(whole), size=3):
            damaged[position] = random.integers(256)
        file.write_bytes(damaged)
        try:
            lint_onnx(file, TARGETS["jetson"])
        except ModelError:
            refused += 1
    assert 0 < refused < 500


def _set_scale(model: ModelProto, value: np.ndarray | str, name: str = "stem.kernel.scale") -> None:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    array = np.array([value] * 4, object) if isinstance(value, str) else value
    tensor.CopyFrom(numpy_helper.from_array(array, name))


def _redefined(model: ModelProto) -> None:
    """Whoever follows this value back to where it is made goes on forever."""
    node = helper.make_node("Identity", ["depthwise.dq"], ["depthwise.dq"], name="again")
    model.graph.node.insert([node.name for node in model.graph.node].index("depthwise.dq") + 1, node)


def _dequantizes_nothing(model: ModelProto) -> None:
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", ["", "flat.scale"], [""], name="nothing"))


def _stored_twice(model: ModelProto) -> None:
    model.graph.initializer.append(model.graph.initializer[0])


def _constant_without_output(model: ModelProto) -> None:
    value = numpy_helper.from_array(np.float32(1.0))
    model.graph.node.insert(0, helper.make_node("Constant", [], [], name="mute", value=value))


def _too_many_nodes(model: ModelProto) -> None:
    model.graph.node.extend(helper.make_node("Identity", ["input"], [f"copy {number}"]) for number in range(20_000))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_redefined, r"depthwise\.dq is made twice"),
        (_stored_twice, "is made twice"),
        (_dequantizes_nothing, "nothing reads or makes too little"),
        (_constant_without_output, "something without an output"),
        (_too_many_nodes, r"it has 200\d\d nodes"),
        (lambda model: _set_scale(model, "0.01"), r"the scale 'stem\.kernel\.scale' is no number"),
    ],
)
def test_what_no_graph_has(spoil: Callable[[ModelProto], None], message: str, tmp_path: Path) -> None:
    model = Qdq(TARGETS["jetson"]).model(17)
    spoil(model)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=message):
        lint_onnx(tmp_path / "model.onnx", TARGETS["jetson"])


def test_weights_without_axes(tmp_path: Path) -> None:
    model = Qdq(TARGETS["jetson"]).model(17)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "stem.kernel.q")
    tensor.CopyFrom(numpy_helper.from_array(np.int8(1), tensor.name))
    assert "stem" in lint(model, TARGETS["jetson"], tmp_path)["weights-per-channel"]


def test_scales_that_do_not_fit_together(tmp_path: Path) -> None:
    model = Qdq(TARGETS["x86"]).model(17)
    _set_scale(model, np.full(3, 0.01, np.float32), "stem.bias.scale")
    assert "stem" in lint(model, TARGETS["x86"], tmp_path)["bias-scale"]


def test_scales_in_bfloat16(tmp_path: Path) -> None:
    model = Qdq(TARGETS["jetson"]).model(17)
    _set_scale(model, np.full(4, 0.01, np.float32).astype(helper.tensor_dtype_to_np_dtype(TensorProto.BFLOAT16)))
    assert lint(model, TARGETS["jetson"], tmp_path) == {}


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.onnx")
    with pytest.raises(OutputError, match=r"model\.onnx is not a file"):
        lint_onnx(tmp_path / "model.onnx", TARGETS["jetson"])


def test_a_file_larger_than_any_model(tmp_path: Path) -> None:
    """It takes no place on the disk, and would take 3 GiB of memory."""
    with (tmp_path / "model.onnx").open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(ModelError, match=r"model\.onnx has 3,221,225,472 bytes"):
        lint_onnx(tmp_path / "model.onnx", TARGETS["jetson"])


def test_weights_in_a_file_beside(tmp_path: Path) -> None:
    model = Qdq(TARGETS["jetson"]).model(17)
    file = tmp_path / "model.onnx"
    onnx.save(model, file, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert lint_onnx(file, TARGETS["jetson"], external_data=True) == []
    with pytest.raises(ModelError, match=r"another file.*\n.*--external-data"):
        lint_onnx(file, TARGETS["jetson"])


def test_constants_as_plain_numbers(tmp_path: Path) -> None:
    """A scale is a constant in whatever attribute it is written."""
    model = Qdq(TARGETS["jetson"]).model(17)
    (scale,) = (tensor for tensor in model.graph.initializer if tensor.name == "pointwise.scale")
    number = float(numpy_helper.to_array(scale))
    model.graph.initializer.remove(scale)
    model.graph.node.insert(0, helper.make_node("Constant", [], [scale.name], value_float=number))
    assert lint(model, TARGETS["jetson"], tmp_path) == {}
