"""What bench times is the runtime, and nothing around it: it finds what a loop of a few lines finds."""

import subprocess
import sys
from pathlib import Path

import pytest
from command import edgex

from edgex.bench.block import Contender, Entry
from edgex.runtime import one_core

MOST_PAIRS = 20
FEWEST_PAIRS = 4
RUNS = 100

LOADING = {
    ".tflite": """
from ai_edge_litert.interpreter import Interpreter
model = Interpreter(path, num_threads=1)
model.allocate_tensors()
(source,), (target,) = model.get_input_details(), model.get_output_details()
def step():
    model.set_tensor(source["index"], image)
    model.invoke()
    return model.get_tensor(target["index"])
""",
    ".onnx": """
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(path, options)
name = session.get_inputs()[0].name
def step():
    return session.run(None, {name: image})
""",
}
LOOP = """
import sys, time
import numpy as np
path, runs = sys.argv[1], int(sys.argv[2])
image = np.random.default_rng(0).uniform(-1, 1, (1, 160, 160, 3)).astype(np.float32)
{loading}
end = time.perf_counter() + 0.06
while time.perf_counter() < end:
    step()
samples = []
for _ in range(runs):
    start = time.perf_counter()
    step()
    samples.append(time.perf_counter() - start)
print(1e3 * min(samples))
"""


def bare_loop(path: Path) -> float:
    """Milliseconds of the fastest run."""
    command = [sys.executable, "-c", LOOP.format(loading=LOADING[path.suffix]), path, str(RUNS)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def ours(path: Path, runtime: str) -> float:
    with Entry(Contender(path, runtime, threads=1)) as entry:
        return float(entry.burst(RUNS).min())


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model in float, so large that a run takes about a millisecond."""
    folder = tmp_path_factory.mktemp("demo")
    edgex("export", "demo", "--target", "cpu", "--input-size", 160, "-o", "out", cwd=folder)
    return folder / "out" / "xception-digits.fp32"


@pytest.mark.parametrize(("suffix", "runtime"), [(".tflite", "litert"), (".onnx", "onnxruntime")])
def test_finds_what_a_bare_loop_finds(demo: Path, suffix: str, runtime: str) -> None:
    """Other programs slow some runs, and what bench would add slows all: the fastest of several processes tell.

    That the medians agree as well takes a quiet machine, and is among the benchmarks.
    """
    path = demo.with_name(demo.name + suffix)
    own, bare = [], []
    for pairs in range(1, MOST_PAIRS + 1):
        with one_core(pairs):
            own.append(ours(path, runtime))
            bare.append(bare_loop(path))
        if pairs >= FEWEST_PAIRS and 0.75 <= min(own) / min(bare) <= 1.05:
            return
    pytest.fail(f"{min(own):.3f} ms by bench, {min(bare):.3f} ms by a bare loop")
