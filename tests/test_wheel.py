"""The wheel in a fresh environment, an editable install and a bare checkout: each finds everything that edgex needs."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from command import environment

ROOT = Path(__file__).resolve().parents[1]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

WHERE = """
from edgex import resources
print(resources.targets_dir(), resources.calib_data_dir(), resources.demo_model(), resources.digits_file(), sep="\\n")
"""
INSTALLED = "import importlib.metadata as m; print(*(d.metadata['Name'].lower() for d in m.distributions()), sep='\\n')"


def run(*command: object, cwd: Path) -> str:
    """Standard output of a command that must succeed."""
    arguments = list(map(str, command))
    done = subprocess.run(arguments, cwd=cwd, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, ROOT, cwd=folder)
    (path,) = folder.glob("edgex-*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--constraint", ROOT / "constraints.txt", wheel, cwd=folder)
    return python


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()  # the configuration of no folder above counts
    return tmp_path


def test_the_wheel_holds_the_package_and_its_data(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"edgex", wheel.name.rsplit("-", 3)[0] + ".dist-info"}
    assert {
        "edgex/cli/__init__.py",
        "edgex/runtime/worker.py",
        "edgex/targets/jetson.toml",
        "edgex/demo/xception-digits.keras",
    } <= set(names)
    shipped = {name.removeprefix("edgex/") for name in names}
    for folder in ("targets", "calib_data"):
        assert {str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*") if path.is_file()} <= shipped
    assert wheel.stat().st_size < 3e6


def test_the_demo_runs_from_the_wheel(python: Path, empty: Path) -> None:
    edgex = python.with_name("edgex")
    document = json.loads(run(edgex, "demo", "--json", cwd=empty))
    assert document["schema"] == "edgex.demo/1"
    assert all(row["top1"] > 0.97 for row in document["results"])
    assert len(document["results"]) == 4
    listed = json.loads(run(edgex, "targets", "--json", cwd=empty))
    assert [target["name"] for target in listed["targets"]] == ["cpu", "gpu-desktop", "jetson"]
    assert run(python, "-m", "edgex", "--version", cwd=empty) == run(edgex, "--version", cwd=empty)


def test_the_wheel_brings_no_tensorflow_and_stands_alone(python: Path, empty: Path) -> None:
    installed = set(run(python, "-c", INSTALLED, cwd=empty).split())
    assert {"edgex", "onnxruntime", "ai-edge-litert", "h5py"} <= installed
    assert not {name for name in installed if "tensorflow" in name or "keras" in name or name == "torch"}
    inside = python.parents[1] / "lib"
    for path in map(Path, run(python, "-c", WHERE, cwd=empty).split("\n")[:-1]):
        assert inside in path.parents
        assert path.exists()
    assert str(ROOT) not in run(python, "-c", "import sys, edgex; print(*sys.path, edgex.__file__)", cwd=empty)


def test_an_editable_install_and_a_checkout_use_the_folders_at_the_root(python: Path, wheel: Path, empty: Path) -> None:
    """Last, because it changes the environment."""
    run(python, "-m", "pip", "install", "--no-deps", "--editable", ROOT, cwd=empty)
    shipped = [ROOT / "targets", ROOT / "calib_data"]
    assert list(map(Path, run(python, "-c", WHERE, cwd=empty).split("\n")))[:2] == shipped
    assert "gpu-desktop" in run(python.with_name("edgex"), "targets", cwd=empty)
    run(python, "-m", "pip", "uninstall", "--yes", "edgex", cwd=empty)
    assert "gpu-desktop" in run(python, "cli.py", "targets", cwd=ROOT)
    assert list(map(Path, run(python, "-c", WHERE, cwd=ROOT).split("\n")))[:2] == shipped
    run(python, "-m", "pip", "install", "--no-deps", wheel, cwd=empty)
