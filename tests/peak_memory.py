"""How much memory a command takes."""

import json
import subprocess
import sys
from pathlib import Path

from command import EDGEX, Outcome, environment

RUN = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps([done.returncode, done.stdout, done.stderr, peak]))
"""
"""A small process in between: a child begins with the memory of its parent, and that of the tests is large."""

PEAK_UNIT = 1 if sys.platform == "darwin" else 1024


def edgex_measured(*arguments: object, cwd: Path) -> tuple[Outcome, int]:
    """Like :func:`command.edgex`, with the largest number of bytes that were resident at once."""
    command = [sys.executable, "-c", RUN, EDGEX, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=300, check=True)
    code, out, err, peak = json.loads(done.stdout)
    return Outcome(code, out, err), peak * PEAK_UNIT
