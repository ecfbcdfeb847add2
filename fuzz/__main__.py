"""Tries inputs on the readers of edgex, and says of each target how many were tried and what came of them.

Ends with 1 if anything but an EdgexError came out; the inputs that did it are saved, and ``--replay`` reads one again.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from edgex.errors import EdgexError
from fuzz.campaign import ROOT, Campaign, Tally
from fuzz.targets import TARGETS
from fuzz.worker import lay_out

COLUMNS = "{:<14}{:>9}{:>10}{:>10}{:>8}{:>8}"
OUTCOMES = ("refused", "accepted", "failed")


def main() -> int:
    given = _arguments()
    if given.replay:
        return _replay(given.targets[0], given.replay)
    targets = given.targets or list(TARGETS)
    campaign = Campaign(-(-given.inputs // len(targets)), given.save, given.seed, given.processes)
    began = monotonic()
    print(COLUMNS.format("target", "inputs", *OUTCOMES, "lines"))
    tallies = campaign.run(targets, lambda tally: print(_row(tally), flush=True))
    print(_total(tallies, monotonic() - began))
    return 1 if any(tally.findings for tally in tallies) else 0


def _row(tally: Tally) -> str:
    counts = (tally.outcomes[outcome] for outcome in OUTCOMES)
    row = COLUMNS.format(tally.target, tally.inputs, *counts, tally.lines)
    found = (f"  {each.kind} at {each.where}, by {each.input}: {each.message}" for each in tally.findings)
    return "\n".join([row, *found])


def _total(tallies: Sequence[Tally], seconds: float) -> str:
    inputs = sum(tally.inputs for tally in tallies)
    counts = (sum(tally.outcomes[outcome] for tally in tallies) for outcome in OUTCOMES)
    row = COLUMNS.format("all", inputs, *counts, "")
    return f"{row}\n{inputs / seconds:.0f} inputs a second"


def _replay(target: str, file: Path) -> int:
    """Have a saved input read in this process, without limits, and show what comes of it."""
    content = file.read_bytes()
    with TemporaryDirectory() as folder:
        chosen = TARGETS[target]
        lay_out(chosen, Path(folder))
        os.chdir(folder)
        path = Path(folder, chosen.file)
        path.write_bytes(content)
        try:
            chosen.read(path)
        except EdgexError as error:
            print(f"refused, {type(error).__name__}: {error}")
        except Exception:  # noqa: BLE001  it is to be shown
            traceback.print_exc()
            return 1
        else:
            print("accepted")
        finally:
            os.chdir(ROOT)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all if none")
    parser.add_argument("--inputs", type=int, default=100_000, help="in all; %(default)s if not said")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="all cores if not said")
    parser.add_argument("--seed", default="0", help="other seeds make other inputs")
    parser.add_argument("--save", type=Path, default=ROOT / "out" / "fuzz", help="folder for inputs of findings")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="read this file, by the one target named")
    given = parser.parse_args()
    if unknown := set(given.targets) - set(TARGETS):
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    if given.replay and len(given.targets) != 1:
        parser.error("--replay takes one target")
    return given


if __name__ == "__main__":
    sys.exit(main())
