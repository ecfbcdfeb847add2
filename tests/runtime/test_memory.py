"""The memory that a model file takes is its own, and a file that crashes is an error."""

import sys
from pathlib import Path

import numpy as np
import pytest
from foreign import save_crashing, save_onnx
from graphs import tiny_xception
from onnx import TensorProto, helper, numpy_helper

from edgex.errors import ModelError
from edgex.runtime.memory import peak_memory
from edgex.write.tflite import tflite_model

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much a process held at most")


def dense(path: Path, width: int) -> Path:
    """A matrix of ``width`` × ``width`` floats behind one input."""
    weights = numpy_helper.from_array(np.ones((width, width), np.float32), "weights")
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, width))]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, width))]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weights"], ["y"])], "dense", inputs, outputs, [weights]
    )
    return save_onnx(path, graph)


def test_weights_show(tmp_path: Path) -> None:
    small, large = (
        peak_memory(dense(tmp_path / f"{width}.onnx", width), "onnxruntime", 1, np.zeros((1, width), np.float32))
        for width in (16, 4096)
    )
    assert small is not None
    assert large is not None
    assert small < 30e6, "the runtime itself must not count"
    assert 67e6 < large - small < 300e6


def test_a_crash_is_an_error(tmp_path: Path) -> None:
    float_file = tmp_path / "float.tflite"
    float_file.write_bytes(tflite_model(tiny_xception()))
    file = save_crashing(tmp_path / "crash.tflite", float_file)
    with pytest.raises(ModelError, match=r"crashed.*crash\.tflite"):
        peak_memory(file, "litert", 1, np.zeros((1, 32, 32, 3), np.float32))
