"""Whatever becomes of a model's process, the user gets a sentence, and no process stays behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from command import EDGEX, edgex, environment, refused
from foreign import make_runtime, save_crashing, save_endless, save_greedy, save_identity
from graphs import tiny_xception

from edgex.errors import ExitCode, ModelError, RuntimeMissingError
from edgex.runtime import Limits, Runner, Worker, describe_python
from edgex.write.tflite import tflite_model

IMAGE = np.ones((1, 4, 4, 3), np.float32)
MEGABYTE = 1 << 20


def executable(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def gone(process: psutil.Process) -> bool:
    """Whether a process that is nobody's here ends within some seconds."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


# Bad files


@pytest.mark.parametrize("command", [("eval", "--data", "digits"), ("bench",), ("bench", "--runtime", "litert")])
def test_a_file_that_crashes_its_runtime(demo_project: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    path = save_crashing(tmp_path / "crash.tflite", demo_project / "out" / "xception-digits.fp32.tflite")
    outcome = edgex(command[0], path, *command[1:], cwd=tmp_path)
    message = refused(outcome, ExitCode.MODEL_REFUSED, "litert crashed (SIGSEGV)", "crash.tflite")
    assert len(message.strip().splitlines()) == 2


def test_a_file_that_never_ends(tmp_path: Path) -> None:
    path = save_endless(tmp_path / "endless.onnx")
    start = time.monotonic()
    with (
        Runner(path, "onnxruntime", 1, limits=Limits(run_seconds=1)) as runner,
        pytest.raises(ModelError, match=r"within 1 seconds and was stopped, on .*endless\.onnx"),
    ):
        runner.run(IMAGE)
    assert time.monotonic() - start < 10


def test_each_image_has_the_time_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = "class Interpreter(Interpreter):\n    def invoke(self):\n        import time; time.sleep(0.3)\n"
    monkeypatch.setenv("PYTHONPATH", str(make_runtime(tmp_path, slow)))
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tflite_model(tiny_xception()))
    with Runner(path, "tflite-runtime", 1, limits=Limits(run_seconds=1)) as runner:
        assert runner.run(np.zeros((6, 32, 32, 3), np.float32)).shape == (6, 10)


def test_a_file_that_takes_long_to_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(make_runtime(tmp_path, "import time; time.sleep(60)")))
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tflite_model(tiny_xception()))
    with pytest.raises(ModelError, match=r"tflite-runtime gave no answer within 2 seconds"):
        Runner(path, "tflite-runtime", 1, limits=Limits(open_seconds=2))


def test_a_file_that_wants_more_memory_than_allowed(tmp_path: Path) -> None:
    path = save_greedy(tmp_path / "greedy.onnx", megabytes=800)
    with (
        Runner(path, "onnxruntime", 1, limits=Limits(memory=700 * MEGABYTE)) as runner,
        pytest.raises(ModelError, match=r"onnxruntime refuses .*greedy\.onnx: .*[Aa]lloc"),
    ):
        runner.run(IMAGE)
    with Runner(path, "onnxruntime", 1, limits=Limits(memory=1400 * MEGABYTE)) as runner:
        assert runner.run(IMAGE).shape == (1, 3)


def test_an_input_too_large_to_give(tmp_path: Path) -> None:
    path = save_identity(tmp_path / "vast.onnx", [1, 60_000, 60_000, 3])
    with pytest.raises(ModelError, match=r"vast\.onnx takes 41,198 MiB at its input input_0, .* at most 1,024"):
        Runner(path, "onnxruntime", 1)


def test_an_answer_too_large_to_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_identity(tmp_path / "same.onnx", [1, 4, 4, 3])
    with Runner(path, "onnxruntime", 1) as runner:
        np.testing.assert_array_equal(runner.run(IMAGE), IMAGE)
        monkeypatch.setattr("edgex.runtime.process.LARGEST_ANSWER", IMAGE.nbytes - 1)
        with pytest.raises(ModelError, match=r"same\.onnx gives more than"):
            runner.run(IMAGE)


def test_a_lower_limit_of_the_shell_stays(tmp_path: Path) -> None:
    path = save_identity(tmp_path / "same.onnx", [1, 4, 4, 3])
    program = (
        "import resource; limits = (2 << 30, 2 << 30); resource.setrlimit(resource.RLIMIT_DATA, limits)\n"
        "import sys; from pathlib import Path; from edgex.runtime import Limits, Runner\n"
        "with Runner(Path(sys.argv[1]), 'onnxruntime', 1, limits=Limits(memory=8 << 30)) as runner:\n"
        "    print(runner.input_shape)"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True)
    assert done.stdout == "(4, 4, 3)\n", done.stderr


# Runtimes and Pythons that are not there


def test_a_runtime_that_is_missing(demo_project: Path) -> None:
    for command in (("eval", "--data", "digits"), ("bench",)):
        file = "out/xception-digits.int8.onnx"
        outcome = edgex(command[0], file, *command[1:], "--runtime", "onnxruntime-cuda", cwd=demo_project)
        refused(outcome, ExitCode.RUNTIME_MISSING, "onnxruntime-cuda", "pip install onnxruntime-gpu")


def test_hardware_that_is_missing(tmp_path: Path) -> None:
    """The worker asks the runtime itself; that a file of the package is there proves nothing."""
    path = save_identity(tmp_path / "same.onnx", [1, 3])
    with Worker() as worker, pytest.raises(RuntimeMissingError, match="comes without CUDAExecutionProvider"):
        worker.open(path, "onnxruntime-cuda", 1)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("exec {python} -I -S $*", "No module named 'numpy'"),
        ("exit 0", "it said nothing"),
        ("echo Welcome; exec {python} $*", "does it print something"),
        ("kill -ILL $$", "SIGILL"),
        (None, "cannot be started: No such file"),
    ],
)
def test_pythons_that_cannot_run_models(demo_project: Path, tmp_path: Path, program: str | None, words: str) -> None:
    python = tmp_path / "python"
    if program is not None:
        executable(python, f"#!/bin/sh\n{program.format(python=sys.executable)}\n")
    for command in (("doctor",), ("bench", "out/xception-digits.int8.tflite")):
        outcome = edgex(*command, "--python", python, cwd=demo_project)
        refused(outcome, ExitCode.RUNTIME_MISSING, str(python), words, "Python 3.8" if program else "env/bin/python")


def test_another_python_is_asked_for_its_own_runtimes(tmp_path: Path) -> None:
    python = executable(tmp_path / "python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    version, runtimes = describe_python(python)
    assert version == ".".join(map(str, sys.version_info[:3]))
    assert "litert" in runtimes


# The end


@pytest.fixture
def endless_bench(tmp_path: Path) -> "subprocess.Popen[str]":
    """``edgex bench`` on a file that never ends, in a process group of its own, as in a terminal."""
    path = save_endless(tmp_path / "endless.onnx")
    command = [EDGEX, "bench", path, "--runtime", "onnxruntime"]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )


def worker_of(process: "subprocess.Popen[str]") -> psutil.Process:
    """The worker, once it is busy."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for child in psutil.Process(process.pid).children():
            if child.cpu_times().user > 1:
                return child
        time.sleep(0.05)
    raise AssertionError("no worker got busy")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)]
)
def test_signals_leave_no_worker_behind(
    endless_bench: "subprocess.Popen[str]", number: signal.Signals, code: ExitCode
) -> None:
    with endless_bench as process:
        worker = worker_of(process)
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=20)
        assert process.returncode == code
    assert out == ""
    assert "Traceback" not in err
    assert gone(worker)


def test_a_worker_ends_with_its_parent() -> None:
    program = (
        "import os, signal, sys; from edgex.runtime import Worker; worker = Worker(); worker.ask('describe', 60)\n"
        "print(worker._process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert done.returncode == -signal.SIGKILL
    try:
        worker = psutil.Process(int(done.stdout))
    except psutil.NoSuchProcess:
        return
    assert gone(worker)
