"""What is no ONNX model, or reaches outside its folder, is refused before a rule sees it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from qdq import TARGETS, Qdq

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


def test_weights_in_a_file_beside(tmp_path: Path) -> None:
    model = Qdq(TARGETS["jetson"]).model(17)
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert lint_onnx(tmp_path / "model.onnx", TARGETS["jetson"]) == []


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "missing", "link", "folder/secret", ""])
def test_weights_anywhere_else(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "given"
    (folder / "folder").mkdir(parents=True)
    for secret in (tmp_path / "secret", folder / "folder" / "secret"):
        secret.write_bytes(bytes(4))
    (folder / "link").symlink_to(tmp_path / "secret")
    model = Qdq(TARGETS["jetson"]).model(17)
    scale = next(tensor for tensor in model.graph.initializer if tensor.name == "flat.scale")
    scale.ClearField("raw_data")
    scale.data_location = TensorProto.EXTERNAL
    scale.external_data.add(key="location", value=location)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"keeps the weights 'flat\.scale' in"):
        lint_onnx(folder / "model.onnx", TARGETS["jetson"])
