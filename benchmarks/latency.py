"""How fast our INT8 files run at 299×299, against the oracles' in the same runtime."""

import json
from pathlib import Path
from typing import NamedTuple

from benchmarks.full_size import FullSize
from benchmarks.inputs import Workplace
from benchmarks.oracles import NNCF, ONNXRUNTIME, TENSORFLOW
from benchmarks.processes import edgex
from benchmarks.report import Figure, Section, Table


class Pair(NamedTuple):
    """An oracle, the kind of file it writes, and the runtime that it is written for."""

    oracle: str
    kind: str
    runtime: str


PAIRS = (
    Pair(ONNXRUNTIME, "int8.onnx", "onnxruntime"),
    Pair(TENSORFLOW, "int8.tflite", "litert"),
    Pair(NNCF, "int8.onnx", "openvino"),
)


def measure(workplace: Workplace) -> Section:
    """``edgex bench`` on pairs of files."""
    subject = FullSize(workplace)
    subject.run_ours()
    figures, rows, missing = [], [], []
    for oracle, kind, runtime in PAIRS:
        ours, theirs = subject.our_file(kind), subject.their_file(oracle)
        if oracle == NNCF and workplace.nncf_python is None and not theirs.exists():
            missing.append("NNCF, which wants an environment of its own: see --nncf-python.")
            continue
        if not theirs.exists():
            subject.run_theirs([oracle])
        seconds = "1" if workplace.quick else "15"
        options = ("--runtime", runtime, "--seconds", seconds, "--json")
        document = json.loads(edgex("bench", ours, theirs, *options, folder=workplace.folder).stdout)
        (ratio,) = document["ratios"]
        measure = f"{kind} of edgex / of {oracle}, in {runtime}"
        figures.append(Figure(measure, ratio["ratio"], 1.02, "×", ratio["low"], ratio["high"], judged="low"))
        rows += [
            (Path(result["path"]).name, runtime, result["threads"], result["runs"], result["median_ms"])
            for result in document["results"]
        ]
    table = Table(("file", "runtime", "threads", "runs", "median ms"), tuple(rows))
    return Section("latency", tuple(figures), table, tuple(missing))
