"""On a terminal: colours unless NO_COLOR, progress bars with the time left. Elsewhere: plain lines."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command import EDGEX, edgex, environment

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")

COLOUR = re.compile(r"\x1b\[(?:\d+;)*3[0-7](?:;\d+)*m")
QUANTIZE = ("quantize", "demo", "--target", "cpu", "--calib", "digits", "--calib-count", "20")


def on_terminal(*arguments: str, cwd: Path, **variables: str) -> tuple[int, str]:
    """Exit code, and everything that a command writes to a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    shown = environment(TERM="xterm-256color", COLUMNS="100", **variables)
    with subprocess.Popen([EDGEX, *arguments], cwd=cwd, env=shown, stdin=theirs, stdout=theirs, stderr=theirs) as child:
        os.close(theirs)
        text = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # how Linux says that the other end is closed
                break
            if not part:
                break
            text += part
    os.close(ours)
    return child.returncode, text.decode()


def test_progress_bars_with_the_time_left(folder: Path) -> None:
    code, text = on_terminal(*QUANTIZE, cwd=folder)
    assert code == 0, text
    assert "20/20" in text
    assert re.search(r"calibrate.*0:00:\d\d", text)
    assert "xception-digits.int8.onnx" in text
    plain = edgex(*QUANTIZE, cwd=folder)
    assert "\x1b" not in plain.out + plain.err
    assert "20/20" not in plain.err


def test_a_narrow_terminal_still_shows_the_time_left() -> None:
    what = "prune 1 of 2, epoch 1 of 1, held out: loss 0.2879, top-1 91.2%"
    program = f"from edgex import console\nwith console.progress() as show:\n    show({what!r}, 10, 11860)\n"
    ours, theirs = pty.openpty()
    narrow = environment(TERM="xterm-256color", COLUMNS="80")
    subprocess.run([sys.executable, "-c", program], env=narrow, stderr=theirs, check=True)
    text = os.read(ours, 65536).decode()
    os.close(ours)
    os.close(theirs)
    assert re.search(r"prune 1 of 2.*… .*10/11860.*-:--:--", text)


def test_quiet_shows_no_progress(folder: Path) -> None:
    _, text = on_terminal("-q", *QUANTIZE, cwd=folder)
    assert "20/20" not in text
    assert "calibrate" not in text


def test_no_color(folder: Path) -> None:
    for arguments in (("inspect", "missing.keras"), QUANTIZE):
        assert COLOUR.search(on_terminal(*arguments, cwd=folder)[1])
        assert not COLOUR.search(on_terminal(*arguments, cwd=folder, NO_COLOR="1")[1])


def test_a_reader_that_stops_early_causes_no_message(folder: Path) -> None:
    done = subprocess.run(
        f'"{EDGEX}" inspect demo | head -n 2', shell=True, cwd=folder, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert "layer" in done.stdout
