"""The command answers at once, and what needs no TensorFlow never loads it."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from command import environment
from reports import write_outcome

HEAVY = {"ai_edge_litert", "h5py", "keras", "numpy", "onnx", "onnxruntime", "openvino", "PIL", "tensorflow"}
RUNTIMES = {"ai_edge_litert", "onnxruntime", "openvino", "tflite_runtime"}
TRAINING = {"keras", "tensorflow", "tensorflow_model_optimization", "tf_keras"}

WATCHED = """
    import atexit, sys

    @atexit.register
    def tell():
        with open("loaded.txt", "w") as file:
            file.write("\\n".join(name for name in sys.modules if "." not in name))

    sys.argv[1:] = {arguments!r}
    from edgex.cli import main
    main()
"""


def loaded(folder: Path, *arguments: str) -> set[str]:
    """The packages that a command has loaded when it ends."""
    code = textwrap.dedent(WATCHED).format(arguments=list(arguments))
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set((folder / "loaded.txt").read_text().split("\n"))


@pytest.mark.parametrize("arguments", [("--help",), ("quantize", "--help"), ("--version",)])
def test_help_loads_nothing_heavy(folder: Path, arguments: tuple[str, ...]) -> None:
    modules = loaded(folder, *arguments)
    assert "edgex" in modules
    assert not HEAVY & modules


def test_no_command_loads_tensorflow(folder: Path) -> None:
    files = ("o/xception-digits.int8.onnx", "o/xception-digits.int8.tflite")
    commands = {
        ("quantize", "demo", "--target", "cpu", "--calib", "digits", "--calib-count", "4", "-o", "o"): "onnxruntime",
        ("export", "demo", "--target", "cpu", "-o", "e"): "h5py",
        ("bench", *files, "--runs", "2"): "edgex",
        ("eval", *files, "--data", "digits"): "numpy",
        ("doctor",): "psutil",
        ("lint", files[0], "--target", "cpu"): "onnx",
        ("inspect", "demo"): "h5py",
        ("inspect", "xception"): "numpy",
        ("compare", "demo", "xception", "--no-latency"): "h5py",
        ("targets",): "pydantic",
        ("verify", "o"): "hashlib",
        ("init",): "edgex",
    }
    for arguments, used in commands.items():
        modules = loaded(folder, *arguments)
        assert used in modules, arguments
        assert not TRAINING & modules, arguments


def test_the_gate_loads_no_more_than_it_needs(folder: Path) -> None:
    """In CI it takes a second."""
    write_outcome(folder / "out")
    arguments = ("gate", "out", "--baseline", "out", "--junit", "gate.xml", "--markdown", "summary.md")
    modules = loaded(folder, *arguments)
    assert {"numpy", "pydantic"} <= modules
    assert not modules & {*HEAVY - {"numpy"}, "jinja2", "matplotlib", "psutil", "scipy"}


def test_models_are_not_run_in_the_command_itself(folder: Path) -> None:
    """A runtime that crashes takes its process with it."""
    loaded(folder, "export", "demo", "--target", "cpu", "-o", "e")
    files = ("e/xception-digits.fp32.onnx", "e/xception-digits.fp32.tflite")
    for command in (("bench", "--runs", "1"), ("eval", "--data", "digits")):
        assert not RUNTIMES & loaded(folder, command[0], *files, *command[1:])
