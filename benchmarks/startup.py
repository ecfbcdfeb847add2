"""How soon the command line answers, and measures."""

import sys
from statistics import median

from benchmarks.inputs import Workplace
from benchmarks.processes import edgex, run
from benchmarks.report import Figure, Section, interleave, ratio


def measure(workplace: Workplace) -> Section:
    """``edgex --help`` against importing the library that parses its command line."""

    def ours() -> float:
        return edgex("--help", folder=workplace.folder).seconds

    def theirs() -> float:
        return run(sys.executable, "-c", "import typer", folder=workplace.folder).seconds

    interleave(1, ours, theirs)  # the first start compiles and fills the disk's cache
    measured = interleave(3 if workplace.quick else 21, ours, theirs)
    return Section("startup", (ratio("edgex --help / import typer", measured, limit=3), _first_measurement(workplace)))


def _first_measurement(workplace: Workplace) -> Figure:
    """From the start of ``edgex bench`` on a file to the end of the process, with one run to measure."""
    demo = workplace.folder / "demo-cpu"
    edgex("export", "demo", "--target", "cpu", "-o", demo, folder=workplace.folder)
    command = ("bench", demo / "xception-digits.fp32.tflite", "--runtime", "litert", "--runs", "1")
    rounds = 1 if workplace.quick else 11
    seconds = [edgex(*command, folder=workplace.folder).seconds for _ in range(rounds)]
    return Figure("edgex bench model.tflite, whole, one run", median(seconds), 1, "s", min(seconds), max(seconds))
