"""What OpenVINO and ONNX Runtime make of an artifact lies beside it, whole, and computes the same."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from command import edgex, refused
from disks import mounted

from edgex.bench import BenchOptions
from edgex.compile import Compiled, compile_directory
from edgex.compile.cpu import compile_for_cpu
from edgex.dataset import open_dataset
from edgex.errors import ExitCode, ModelError, OutputError
from edgex.manifest import verify
from edgex.preprocess import Preprocessing
from edgex.runtime import open_runner
from edgex.target import load_target

ONCE = BenchOptions(runs=1, threads=1)
INT8 = "xception-digits.int8"
MADE = {f"{INT8}.openvino.xml", f"{INT8}.openvino.bin", f"{INT8}.onnxruntime.onnx"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def directory(demo_project: Path, tmp_path: Path) -> Path:
    """A copy of the demo's output directory."""
    return shutil.copytree(demo_project / "out", tmp_path / "out")


@pytest.fixture(scope="module")
def compiled(demo_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    pytest.importorskip("openvino", reason="OpenVINO is an extra")
    directory = shutil.copytree(demo_project / "out", tmp_path_factory.mktemp("compiled") / "out")
    return compile_directory(directory, options=ONCE)


def test_forms_for_both_runtimes(compiled: Compiled, demo_project: Path) -> None:
    assert names(compiled.directory) == names(demo_project / "out") | MADE
    assert [(file.path.name, file.runtime) for file in compiled.files] == [
        (f"{INT8}.openvino.xml", "openvino"),
        (f"{INT8}.onnxruntime.onnx", "onnxruntime"),
    ]
    first, second = (
        sum((compiled.directory / name).stat().st_size for name in made)
        for made in ((f"{INT8}.openvino.xml", f"{INT8}.openvino.bin"), (f"{INT8}.onnxruntime.onnx",))
    )
    assert [file.bytes for file in compiled.files] == [first, second]
    assert compiled.script is None
    assert compiled.warnings == ()


def test_each_is_timed_against_the_plain_file(compiled: Compiled) -> None:
    for file in compiled.files:
        assert file.ratio.a.path == file.path
        assert file.ratio.b.path == compiled.directory / f"{INT8}.onnx"
        assert file.ratio.a.runtime == file.ratio.b.runtime == file.runtime
        assert file.ratio.ratio == pytest.approx(file.ratio.a.median_ms / file.ratio.b.median_ms)


def test_the_manifest_still_holds(compiled: Compiled) -> None:
    assert verify(compiled.directory) == []


def test_the_scores_are_those_of_the_plain_file(compiled: Compiled) -> None:
    preprocessing = Preprocessing((48, 48))
    _, images = next(open_dataset("digits", role="evaluation").batches(preprocessing, batch=20))

    def scores(path: Path, runtime: str) -> np.ndarray:
        with open_runner(path, runtime=runtime, threads=1) as runner:
            return runner.run(images)

    for file in compiled.files:
        plain = scores(compiled.directory / f"{INT8}.onnx", file.runtime)
        assert plain.std(axis=0).max() > 0.01, "the images must matter"
        np.testing.assert_allclose(scores(file.path, file.runtime), plain, atol=1e-5)


def test_without_openvino(directory: Path) -> None:
    """Then there is a warning, and the rest."""
    hiding = directory.parent / "hiding"
    hiding.mkdir()
    (hiding / "openvino.py").write_text("raise ImportError('not installed')\n")
    arguments = ("compile", "out", "--threads", 1, "--seconds", 0.01, "--json")
    outcome = edgex(*arguments, cwd=directory.parent, PYTHONPATH=str(hiding))
    document = outcome.document
    assert document["schema"] == "edgex.compile/1"
    assert (document["directory"], document["script"]) == ("out", None)
    (made,) = document["artifacts"]
    assert (made["path"], made["runtime"]) == (f"out/{INT8}.onnxruntime.onnx", "onnxruntime")
    assert made["bytes"] == (directory / f"{INT8}.onnxruntime.onnx").stat().st_size
    assert (made["a"], made["b"]) == (made["path"], f"out/{INT8}.onnx")
    assert 0 < made["low"] <= made["high"]
    assert made["init_ms"] > 0 < made["plain_init_ms"]
    (warning,) = document["warnings"]
    assert "openvino" in warning
    assert "pip install" in warning
    assert "warning: openvino" in outcome.err
    assert not any(name in names(directory) for name in MADE if "openvino" in name)


def test_a_directory_that_was_changed_is_refused(directory: Path) -> None:
    with (directory / f"{INT8}.onnx").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"!")
    before = names(directory)
    outcome = edgex("compile", "out", cwd=directory.parent)
    refused(outcome, ExitCode.INPUT_OUTPUT, f"out/{INT8}.onnx was changed")
    assert names(directory) == before


def test_a_directory_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(edgex("compile", "empty", cwd=tmp_path), ExitCode.INPUT_OUTPUT, "empty/manifest.json")


def test_what_fails_leaves_nothing_behind(directory: Path) -> None:
    """And what was compiled before stays."""
    artifact = directory / f"{INT8}.onnx"
    compile_for_cpu(artifact, "onnxruntime", ONCE)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    artifact.write_bytes(b"no model")
    with pytest.raises(ModelError, match=rf"{INT8}\.onnx is not an ONNX model"):
        compile_for_cpu(artifact, "onnxruntime", ONCE)
    artifact.write_bytes(before[artifact.name])
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_a_disk_that_cannot_be_written(demo_project: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=4m") as disk:
        directory = shutil.copytree(demo_project / "out", disk / "out")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(OutputError, match=r"out/.*\.onnx cannot be written: Read-only file system"):
            compile_for_cpu(directory / f"{INT8}.onnx", "onnxruntime", ONCE)


def test_another_target_can_be_asked_for(directory: Path) -> None:
    """One that compiles nothing here leaves the directory as it is, but for its script."""
    before = names(directory)
    made = compile_directory(directory, load_target("jetson"), ONCE)
    assert made.files == ()
    assert made.script is not None
    assert names(directory) == before | {made.script.name}
