"""Files written into a folder: whole or not at all, by one process at a time."""

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgex.errors import OutputError
from edgex.output import replace_files


def _write(files: list[Path], content: str, then: type[BaseException] | None = None) -> None:
    with replace_files(files) as partials:
        for partial in partials:
            partial.write_text(content)
        if then is not None:
            raise then


def _content(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two files that are there."""
    files = [tmp_path / "report.json", tmp_path / "report.html"]
    _write(files, "old")
    return files


OLD = {"report.json": "old", "report.html": "old"}
NEW = {"report.json": "new", "report.html": "new"}


def test_they_appear_at_the_end(files: list[Path], tmp_path: Path) -> None:
    with replace_files(files) as partials:
        for partial, file in zip(partials, files, strict=True):
            assert partial.suffix == file.suffix, "by which runtimes go"
            assert partial.parent == file.parent
            assert partial.read_text() == ""
            partial.write_text("new")
            assert file.read_text() == "old"
    assert _content(tmp_path) == NEW


@pytest.mark.parametrize("exception", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_ones(exception: type[BaseException], files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(exception):
        _write(files, "new", exception)
    assert _content(tmp_path) == OLD


def test_what_the_disk_refuses_leaves_the_old_ones(files: list[Path], tmp_path: Path) -> None:
    """That one of them cannot be finished is seen before any takes its place."""
    with pytest.raises(OutputError, match=r"report\.json cannot be written: No such file"):
        _lose_the_last(files)
    assert _content(tmp_path) == OLD


def _lose_the_last(files: list[Path]) -> None:
    with replace_files(files) as partials:
        for partial in partials:
            partial.write_text("new")
        partials[-1].unlink()


def test_a_missing_folder_costs_no_work(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"runs\.csv cannot be written: No such file"),
        replace_files([tmp_path / "nowhere" / "runs.csv"]),
    ):
        pytest.fail("the work began")
    assert _content(tmp_path) == {}


def test_it_leads_nowhere_else(files: list[Path], tmp_path: Path) -> None:
    """A directory may come from anywhere, with anything in it."""
    letter = tmp_path.parent / f"{tmp_path.name}-letter"
    letter.write_text("mine")
    (tmp_path / ".partial.report.html").symlink_to(letter)
    with pytest.raises(OutputError, match=r"report\.json cannot be written: Too many levels"):
        _write(files, "new")
    assert letter.read_text() == "mine"
    assert files[0].read_text() == "old"


# Two processes, and killed ones

HOLDER = """
    import sys, time
    from pathlib import Path
    from edgex.output import replace_files

    with replace_files([Path(file) for file in sys.argv[1:]]) as partials:
        partials[0].write_text("half of what is to be written")
        print("working", flush=True)
        time.sleep(60)
"""


@pytest.fixture
def holder(files: list[Path]) -> Iterator["subprocess.Popen[str]"]:
    """Another process in the middle of writing them."""
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), *files]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        yield process
        process.kill()


def test_a_second_process_is_refused(holder: "subprocess.Popen[str]", files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"report\.json is being written by another process"):
        _write(files, "new")
    _write([tmp_path / "other"], "new")
    assert (tmp_path / ".partial.report.json").read_text() == "half of what is to be written"
    assert holder.poll() is None


def test_what_a_killed_one_left_is_taken_over(
    holder: "subprocess.Popen[str]", files: list[Path], tmp_path: Path
) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert _content(tmp_path).items() > OLD.items()
    _write(files, "new")
    assert _content(tmp_path) == NEW
