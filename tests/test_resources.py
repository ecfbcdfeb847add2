"""What ships with edgex is found from a checkout and from an installed package."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import edgex
from edgex.resources import calib_data_dir, demo_model, digits_file, targets_dir

PACKAGE = Path(edgex.__file__).parent
FIND = """
import sys
from edgex import resources
from edgex.errors import EdgexError

try:
    sys.stdout.write(str(getattr(resources, sys.argv[1])()))
except EdgexError as error:
    sys.stdout.write(f"{error.exit_code}: {error}")
"""


def test_everything_is_here():
    assert (calib_data_dir() / "manifest.json").is_file()
    assert list(targets_dir().glob("*.toml"))
    assert demo_model().stat().st_size < 1_000_000
    assert digits_file().is_file()


@pytest.fixture
def installed(tmp_path) -> Path:
    """The package copied to where an installer would put it, alone."""
    shutil.copytree(PACKAGE, tmp_path / "site" / "edgex", ignore=shutil.ignore_patterns("__pycache__", "demo"))
    return tmp_path / "site"


def find(site: Path, function: str) -> str:
    program = f"import sys; sys.path.insert(0, {str(site)!r})\n{FIND}"
    command = [sys.executable, "-I", "-c", program, function]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("function", "folder"), [("targets_dir", "targets"), ("calib_data_dir", "calib_data")])
def test_a_wheel_has_them_inside_and_a_checkout_beside_the_package(installed, function, folder):
    (installed / folder).mkdir()
    assert find(installed, function) == str(installed / folder)
    (installed / "edgex" / folder).mkdir()
    assert find(installed, function) == str(installed / "edgex" / folder)


@pytest.mark.parametrize("function", ["targets_dir", "calib_data_dir", "demo_model", "digits_file"])
def test_a_broken_installation_is_said(installed, function):
    answer = find(installed, function)
    assert answer.startswith("6: ")
    assert "Install edgex again." in answer


def test_the_wheel_takes_them_along():
    project = PACKAGE.parent / "pyproject.toml"
    if not project.is_file():
        pytest.skip("this is no checkout")
    wheel = tomllib.loads(project.read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {name: f"edgex/{name}" for name in ("targets", "calib_data")}
