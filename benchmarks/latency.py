"""How fast our INT8 files run at 299×299, against the oracles' in the same runtime."""

import json
from pathlib import Path

from benchmarks.full_size import FullSize
from benchmarks.inputs import Workplace
from benchmarks.oracles import ONNXRUNTIME, TENSORFLOW
from benchmarks.processes import edgex
from benchmarks.report import Figure, Section, Table


def measure(workplace: Workplace) -> Section:
    """``edgex bench`` on pairs of files."""
    subject = FullSize(workplace)
    subject.run_ours()
    pairs = {oracle: (subject.our_file(kind), subject.their_file(oracle)) for oracle, kind in PAIRS.items()}
    if not all(theirs.exists() for _, theirs in pairs.values()):
        subject.run_theirs()
    figures, rows = [], []
    for oracle, (ours, theirs) in pairs.items():
        seconds = "1" if workplace.quick else "15"
        printed = edgex("bench", ours, theirs, "--seconds", seconds, "--json", folder=workplace.folder).stdout
        document = json.loads(printed)
        (ratio,) = document["ratios"]
        runtime = document["results"][0]["runtime"]
        measure = f"{PAIRS[oracle]} of edgex / of {oracle}, in {runtime}"
        figures.append(Figure(measure, ratio["ratio"], 1.02, "×", ratio["low"], ratio["high"], judged="low"))
        rows += [
            (Path(result["path"]).name, runtime, result["threads"], result["runs"], result["median_ms"])
            for result in document["results"]
        ]
    return Section("latency", tuple(figures), Table(("file", "runtime", "threads", "runs", "median ms"), tuple(rows)))


PAIRS = {ONNXRUNTIME: "int8.onnx", TENSORFLOW: "int8.tflite"}
"""Oracle → what kind of file it writes."""
