"""What ``build-engine.sh`` is tried with."""

import shutil
from functools import cache
from pathlib import Path

import pytest
from build_machines import TOOLS, TRTEXEC, Device, Quantized, changed_demo, prune_pointwise

from edgex.compile.tensorrt import write_build_script
from edgex.manifest import read_manifest
from edgex.pipeline import QuantizeOptions, quantize
from edgex.resources import demo_model
from edgex.target import load_target


@pytest.fixture
def device(tmp_path: Path) -> Device:
    path = tmp_path / "the device's bin"
    path.mkdir()
    for tool in (*TOOLS, "sleep"):
        (path / tool).symlink_to(str(shutil.which(tool)))
    (path / "trtexec").write_text(TRTEXEC)
    (path / "trtexec").chmod(0o755)
    return Device(path, tmp_path / "told")


@pytest.fixture(scope="session")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Quantized:
    """Makes an output directory of the demo model with the script in it; each once, and not to be changed."""

    @cache
    def make(target: str, jetpack: str | None = None, pruned: bool = False) -> Path:
        folder = tmp_path_factory.mktemp("quantized")
        model = changed_demo(folder / "pruned.keras", weights=prune_pointwise) if pruned else demo_model()
        profile = load_target(target, jetpack=jetpack)
        quantize(model, profile, "digits", folder / "out", QuantizeOptions(calib_count=4))
        write_build_script(folder / "out", read_manifest(folder / "out"), profile)
        return folder / "out"

    return make


@pytest.fixture
def jetson(quantized: Quantized, tmp_path: Path) -> Path:
    """The script in a copy of a directory for JetPack 6.2, which is free to change."""
    return shutil.copytree(quantized("jetson"), tmp_path / "jetson") / "build-engine.sh"
