"""Whether ``edgex bench`` can be believed: against a bare loop, and against itself."""

import json
import sys
from pathlib import Path
from statistics import median

from benchmarks.inputs import Workplace
from benchmarks.processes import edgex, run
from benchmarks.report import Figure, Section, interleave

LITERT_LOOP = """
from ai_edge_litert.interpreter import Interpreter
model = Interpreter(path, num_threads=2)
model.allocate_tensors()
(source,), (target,) = model.get_input_details(), model.get_output_details()
image = image.reshape(source["shape"])
def step():
    model.set_tensor(source["index"], image)
    model.invoke()
    return model.get_tensor(target["index"])
"""
ONNXRUNTIME_LOOP = """
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 2
session = onnxruntime.InferenceSession(path, options)
feed = {session.get_inputs()[0].name: image.reshape(1, 71, 71, 3)}
def step():
    return session.run(None, feed)
"""
BARE = """
import sys, time
import numpy as np
path = sys.argv[1]
image = np.random.default_rng(0).uniform(-1, 1, 71 * 71 * 3).astype(np.float32)
{load}
for _ in range(30):
    step()
samples = []
for _ in range(60):
    start = time.perf_counter()
    step()
    samples.append(time.perf_counter() - start)
print(1e3 * np.median(samples))
"""
LOOPS = {"int8.tflite": ("litert", LITERT_LOOP), "int8.onnx": ("onnxruntime", ONNXRUNTIME_LOOP)}

PROCESSES = 10
"""In which the bare loop runs, as bench does: from one to the next the same loop differs by several percent."""

SELF_CHECKS = 50


def measure(workplace: Workplace) -> Section:
    """Medians of the real model's artifacts beside those of a loop of ten lines, then files against themselves."""
    model, calib = workplace.real_model(), workplace.real("data/cifar10-calib.zip")
    directory = workplace.folder / "edgex-cpu-71"
    quantize = ("quantize", model, "--target", "cpu", "--calib", calib, "-o", directory)
    edgex(*quantize, folder=workplace.folder)
    files = {kind: directory / f"{model.stem}.{kind}" for kind in LOOPS}
    figures = [_against_loop(workplace, kind, file) for kind, file in files.items()]
    figures += [_against_itself(workplace, kind, file) for kind, file in files.items()]
    return Section("trust", tuple(figures))


def _against_loop(workplace: Workplace, kind: str, file: Path) -> Figure:
    runtime, load = LOOPS[kind]

    def ours() -> float:
        options = ("--runtime", runtime, "--threads", "2", "--seconds", "2", "--json")
        document = json.loads(edgex("bench", file, *options, folder=workplace.folder).stdout)
        return float(document["results"][0]["median_ms"])

    def bare() -> float:
        command = (sys.executable, "-c", BARE.format(load=load), file)
        return median(float(run(*command, folder=workplace.folder).stdout) for _ in range(PROCESSES))

    measured = interleave(1 if workplace.quick else 9, ours, bare)
    ratios = [a / b for a, b in zip(*measured, strict=True)]
    away = abs(median(ratios) - 1)
    return Figure(f"median of edgex bench / of a bare loop, {runtime}: away from 1", 100 * away, 2, "%")


def _against_itself(workplace: Workplace, kind: str, file: Path) -> Figure:
    runtime, _ = LOOPS[kind]
    count = 2 if workplace.quick else SELF_CHECKS
    noisy = 0
    for _ in range(count):
        options = ("--runtime", runtime, "--self-check", "--threads", "1", "--json")
        noisy += json.loads(edgex("bench", file, *options, folder=workplace.folder).stdout)["noisy"]
    return Figure(f"self-checks, {count} of {runtime}: miss 1.0 or are wider than ±5 %", 100 * noisy / count, 10, "%")
