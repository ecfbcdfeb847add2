"""How soon the command line answers."""

import sys

from benchmarks.inputs import Workplace
from benchmarks.processes import edgex, run
from benchmarks.report import Section, interleave, ratio


def measure(workplace: Workplace) -> Section:
    """``edgex --help`` against importing the library that parses its command line."""

    def ours() -> float:
        return edgex("--help", folder=workplace.folder).seconds

    def theirs() -> float:
        return run(sys.executable, "-c", "import typer", folder=workplace.folder).seconds

    interleave(1, ours, theirs)  # the first start compiles and fills the disk's cache
    measured = interleave(3 if workplace.quick else 21, ours, theirs)
    return Section("startup", (ratio("edgex --help / import typer", measured, limit=3),))
