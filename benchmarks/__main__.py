"""Runs the benchmarks that are named, or all, and prints their tables as Markdown."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import (
    ablations,
    accuracy,
    false_pass,
    latency,
    memory,
    pruning,
    speed,
    startup,
    throughput,
    training,
    trust,
)
from benchmarks.inputs import UnavailableError, Workplace
from benchmarks.processes import ROOT
from benchmarks.report import Section, document, heading, markdown

BENCHMARKS: dict[str, Callable[[Workplace], Section]] = {
    "accuracy": accuracy.measure,
    "speed": speed.measure,
    "memory": memory.measure,
    "latency": latency.measure,
    "startup": startup.measure,
    "trust": trust.measure,
    "throughput": throughput.measure,
    "false_pass": false_pass.measure,
    "training": training.measure,
    "pruning": pruning.measure,
    "ablations": ablations.measure,
}


def main() -> None:
    given = _arguments()
    if not given.json:
        print(heading())
    sections = []
    with TemporaryDirectory() as temporary:
        folder = given.work or Path(temporary)
        folder.mkdir(exist_ok=True)
        workplace = Workplace(folder.resolve(), given.shared.resolve(), given.quick, given.nncf_python)
        for name in given.benchmarks or BENCHMARKS:
            print(f"{name} …", file=sys.stderr)
            try:
                section = BENCHMARKS[name](workplace)
            except UnavailableError as error:
                section = Section(name, missing=(str(error),))
            sections.append(section)
            if not given.json:
                print(f"\n{markdown(section)}", flush=True)
    if given.json:
        print(document(sections))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("benchmarks", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all if none")
    parser.add_argument("--quick", action="store_true", help="few images and rounds, to see that all runs")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    parser.add_argument("--work", type=Path, help="keep what is made in this folder, and use again what is there")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="the real model and images")
    parser.add_argument(
        "--nncf-python",
        type=Path,
        default=os.environ.get("NNCF_PYTHON"),
        help="Python of an environment with nncf (or NNCF_PYTHON)",
    )
    given = parser.parse_args()
    if unknown := set(given.benchmarks) - set(BENCHMARKS):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    return given


if __name__ == "__main__":
    main()
