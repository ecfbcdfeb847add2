"""Row 39 of the faults to survive: an execution provider that is not here is missed, and nothing takes its place."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from command import edgex, refused
from foreign import save_identity

from edgex.errors import ExitCode
from edgex.runtime import worker

IDLE = "AzureExecutionProvider"
"""Listed by every onnxruntime for the CPU, and loads; it takes no node of an ordinary model."""

GPU_PYTHON = Path(__file__).resolve().parents[2] / ".venv-onnxruntime-gpu" / "bin" / "python"


def test_the_smallest_model_is_one() -> None:
    model = onnx.load_model_from_string(worker.IDENTITY)
    assert [value.name for value in model.graph.input] == [value.name for value in model.graph.output]
    session = onnxruntime.InferenceSession(worker.IDENTITY, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"x": np.array([3.0], np.float32)})
    assert result == [3.0]


@pytest.mark.skipif(IDLE not in onnxruntime.get_available_providers(), reason=f"this ONNX Runtime lacks {IDLE}")
def test_nodes_are_not_left_to_the_cpu(tmp_path: Path) -> None:
    path = str(save_identity(tmp_path / "same.onnx", [1, 3]))
    session = onnxruntime.InferenceSession(path, providers=[IDLE])
    assert session.get_providers() == [IDLE, "CPUExecutionProvider"], "left to itself, ONNX Runtime falls back"
    with pytest.raises(Exception, match="fallback to CPU EP has been explicitly disabled"):
        worker.OnnxRuntime(IDLE, path, 1)


@pytest.mark.skipif(
    not GPU_PYTHON.exists() or shutil.which("nvidia-smi") is not None,
    reason="it takes .venv-onnxruntime-gpu, an environment with onnxruntime-gpu and numpy, on a machine without a GPU",
)
@pytest.mark.parametrize("runtime", ["onnxruntime-cuda", "onnxruntime-tensorrt"])
@pytest.mark.parametrize("command", [("eval", "--data", "digits"), ("bench",)])
def test_a_provider_that_is_listed_and_does_not_work(
    demo_project: Path, runtime: str, command: tuple[str, ...]
) -> None:
    arguments = (command[0], "out/xception-digits.fp32.onnx", *command[1:], "--runtime", runtime)
    outcome = edgex(*arguments, "--python", GPU_PYTHON, cwd=demo_project)
    refused(outcome, ExitCode.RUNTIME_MISSING, runtime, "does not work here", "pip install onnxruntime-gpu")
