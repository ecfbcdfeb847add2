"""Output directories: whole or not at all, whatever happens."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from outputs import fill_output

from edgex import output
from edgex.errors import OutputError
from edgex.manifest import verify
from edgex.output import locked, replace_directory

NOBODY = 65534


def _write(path: Path, content: str = "model", then: Callable[[Path], object] = lambda _: None) -> None:
    """Write one whole, and do something with the temporary directory before the end."""
    with replace_directory(path) as work:
        fill_output(work, content)
        then(work)


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


@pytest.fixture(params=["at once", "by steps"])
def exchange(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How an old directory gives way to a new one: as Linux can, and as other systems do."""
    if request.param == "by steps":
        monkeypatch.setattr(output, "_exchange", lambda _one, _other: False)


# The directory appears whole or not at all


def test_a_new_directory_appears_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with replace_directory(out) as work:
        fill_output(work)
        assert work.parent == tmp_path
        assert not out.exists()
    assert _names(out) == {"m.int8.onnx", "plan.json", "manifest.json"}
    assert _names(tmp_path) == {"out"}


@pytest.mark.usefixtures("exchange")
def test_an_old_one_of_ours_is_replaced_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _write(out, "old")
    (out / "report.json").write_text("{}")
    with replace_directory(out) as work:
        fill_output(work, "new")
        assert (out / "m.int8.onnx").read_text() == "old"
    assert (out / "m.int8.onnx").read_text() == "new"
    assert _names(out) == {"m.int8.onnx", "plan.json", "manifest.json"}
    assert _names(tmp_path) == {"out"}


@pytest.mark.parametrize("exception", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_one(exception: type[BaseException], tmp_path: Path) -> None:
    def interrupt(_: Path) -> None:
        raise exception

    out = tmp_path / "out"
    _write(out, "old")
    with pytest.raises(exception):
        _write(out, "new", interrupt)
    assert (out / "m.int8.onnx").read_text() == "old"
    assert _names(tmp_path) == {"out"}


def test_names_of_any_kind(tmp_path: Path) -> None:
    out = tmp_path / "a name\nwith everything é.*[1]"
    _write(out)
    _write(out)
    assert verify(out) == []


@pytest.mark.usefixtures("exchange")
def test_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    _write(tmp_path / "disk" / "out", "old")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "disk" / "out")
    _write(link, "new")
    assert link.is_symlink()
    assert (tmp_path / "disk" / "out" / "m.int8.onnx").read_text() == "new"


# What is not ours, or cannot be written, is refused before the work


def _refused(path: Path, message: str) -> None:
    with pytest.raises(OutputError, match=message), replace_directory(path):
        pytest.fail("the work began")


def test_a_directory_that_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("cat")
    _refused(tmp_path / "photos", "photos exists, and edgex did not write it")
    (tmp_path / "photos" / "manifest.json").write_text('{"name": "a web page"}')
    _refused(tmp_path / "photos", "photos exists, and edgex did not write it")
    assert (tmp_path / "photos" / "cat.jpg").read_text() == "cat"
    assert _names(tmp_path) == {"photos"}


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    _refused(tmp_path / "out", "out exists, and edgex did not write it")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_missing_parent(tmp_path: Path) -> None:
    _refused(tmp_path / "nowhere" / "out", r"its folder .*nowhere does not exist")
    assert _names(tmp_path) == set()


@pytest.fixture
def as_nobody(tmp_path: Path) -> Iterator[None]:
    """Root may write anywhere, so for a while this process is not root."""
    if os.geteuid() != 0:
        yield
        return
    for folder in tmp_path.parents[:-2]:  # pytest's own, one more where it has workers
        folder.chmod(0o755)
    os.seteuid(NOBODY)
    yield
    os.seteuid(0)


def test_a_parent_that_cannot_be_written(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    tmp_path.chmod(0o555)
    request.getfixturevalue("as_nobody")
    _refused(tmp_path / "out", r"out cannot be written: Permission denied")
    assert _names(tmp_path) == set()


def test_a_parent_that_cannot_be_entered(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    (tmp_path / "closed" / "inner").mkdir(parents=True)
    (tmp_path / "closed").chmod(0)
    request.getfixturevalue("as_nobody")
    _refused(tmp_path / "closed" / "inner" / "out", r"out cannot be written: Permission denied")


@pytest.mark.parametrize("name", ["loop", "loop/out"])
def test_a_link_to_itself(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    _refused(tmp_path / name, f"{name} (cannot be written|exists, and edgex did not write it)")
    assert (tmp_path / "loop").is_symlink()
    assert _names(tmp_path) == {"loop"}


def test_a_full_disk(tmp_path: Path) -> None:
    def overflow(work: Path) -> None:
        (work / "m.fp32.onnx").symlink_to("/dev/full")
        (work / "m.fp32.onnx").write_text("new")

    out = tmp_path / "out"
    _write(out, "old")
    with pytest.raises(OutputError, match="out cannot be written: No space left on device"):
        _write(out, "new", overflow)
    assert (out / "m.int8.onnx").read_text() == "old"
    assert _names(tmp_path) == {"out"}


# Two runs, and killed ones

HOLDER = """
    import sys, time
    from pathlib import Path
    from edgex.output import replace_directory

    with replace_directory(Path(sys.argv[1])) as work:
        (work / "half").write_text("written")
        print("working", flush=True)
        time.sleep(60)
"""

KILLED = """
    import os, signal, sys
    from pathlib import Path
    from edgex import output
    from outputs import fill_output

    def and_then_killed(function):
        def call(*arguments):
            function(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)
        return call

    step, out = sys.argv[1:]
    if step == "exchange":
        output._exchange = and_then_killed(output._exchange)
    else:
        output._exchange = lambda _one, _other: False
        Path.rename = and_then_killed(Path.rename)
    with output.replace_directory(Path(out)) as work:
        fill_output(work, "new")
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process in the middle of writing ``tmp_path/out``, over an old one."""
    _write(tmp_path / "out", "old")
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        yield process
        process.kill()


def test_a_second_run_is_told_who_works_there(holder: "subprocess.Popen[str]", tmp_path: Path) -> None:
    _refused(tmp_path / "out", rf"out is being written by process {holder.pid}\.")
    _write(tmp_path / "other")
    assert holder.poll() is None


def test_a_lock_is_its_holders_and_goes_with_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with locked(out):
        assert (tmp_path / ".out.lock").read_text() == str(os.getpid())
        with pytest.raises(OutputError, match=f"out is being written by process {os.getpid()}"), locked(out):
            pytest.fail("two hold it")
        assert _names(tmp_path) == {".out.lock"}
    with locked(out):
        pass
    assert _names(tmp_path) == set()


def test_a_lock_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("mine")
    (tmp_path / ".out.lock").symlink_to(tmp_path / "letter")
    _refused(tmp_path / "out", "out cannot be written: Too many levels of symbolic links")
    assert (tmp_path / "letter").read_text() == "mine"


def test_after_kill_9_the_old_one_is_whole_and_the_next_run_works(
    holder: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "out" / "m.int8.onnx").read_text() == "old"
    assert verify(tmp_path / "out") == []
    _write(tmp_path / "out", "new")
    assert (tmp_path / "out" / "m.int8.onnx").read_text() == "new"
    assert _names(tmp_path) == {"out"}


@pytest.mark.skipif(sys.platform != "linux", reason="others have no renameat2")
def test_linux_exchanges_two_directories_at_once(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(name)
    assert output._exchange(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "one" / "name").read_text() == "other"
    assert (tmp_path / "other" / "name").read_text() == "one"


def _killed_after(step: str, out: Path) -> None:
    """Replace a directory in another process, which is killed right after a step of that."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), step, out], cwd=Path(__file__).parent)
    assert done.returncode == -signal.SIGKILL


def test_a_kill_in_the_exchange_leaves_a_whole_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _write(out, "old")
    _killed_after("exchange", out)
    assert (out / "m.int8.onnx").read_text() == "new"
    assert verify(out) == []
    assert _names(tmp_path) == {"out", ".out.partial", ".out.lock"}
    _write(out, "newer")
    assert (out / "m.int8.onnx").read_text() == "newer"
    assert _names(tmp_path) == {"out"}


def test_a_kill_between_two_steps_is_mended(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _write(out, "old")
    _killed_after("rename", out)
    assert _names(tmp_path) == {".out.previous", ".out.partial", ".out.lock"}
    with pytest.raises(ValueError, match="stop"), replace_directory(out):
        raise ValueError("stop")
    assert (out / "m.int8.onnx").read_text() == "old"
    assert _names(tmp_path) == {"out"}


def test_a_kill_after_both_steps_is_tidied_up(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _write(out, "new")
    shutil.copytree(out, tmp_path / ".out.previous")
    _write(out, "newer")
    assert (out / "m.int8.onnx").read_text() == "newer"
    assert _names(tmp_path) == {"out"}


def test_the_old_one_stays_if_it_cannot_be_moved_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "_exchange", lambda _one, _other: False)
    _write(tmp_path / "out", "old")
    with pytest.raises(OutputError, match="out cannot be written: Not a directory"):
        _write(tmp_path / "out", "new", lambda _: (tmp_path / ".out.previous").write_text("in the way"))
    assert (tmp_path / "out" / "m.int8.onnx").read_text() == "old"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_the_old_one_comes_back_if_the_new_one_cannot_be_moved_in(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    def give_away(work: Path) -> None:
        os.seteuid(0)
        os.chown(work, 0, 0)
        os.seteuid(NOBODY)

    tmp_path.chmod(0o1777)  # where only its owner may rename a directory
    request.getfixturevalue("as_nobody")
    _write(tmp_path / "out", "old")
    with pytest.raises(OutputError, match="out cannot be written: Operation not permitted"):
        _write(tmp_path / "out", "new", give_away)
    assert (tmp_path / "out" / "m.int8.onnx").read_text() == "old"
