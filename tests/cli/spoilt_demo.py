"""The demo model with something changed in it, and what the command makes of it."""

import json
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
from command import Outcome, edgex, refused

from edgex.errors import ExitCode
from edgex.resources import demo_model

REFUSED = ExitCode.MODEL_REFUSED
FEW = ("--calib", "digits", "--calib-count", 8)
Edit = Callable[[Any], None]


def demo_members() -> dict[str, bytes]:
    """What the archive of the demo model holds."""
    with zipfile.ZipFile(demo_model()) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archived(path: Path, members: dict[str, bytes]) -> Path:
    """An archive of some members, not packed, as Keras writes it."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def demo_with(path: Path, config: Edit = lambda _: None, weights: Edit = lambda _: None) -> Path:
    """The demo model with its configuration and weights edited."""
    members = demo_members()
    document = json.loads(members["config.json"])
    config(document)
    members["config.json"] = json.dumps(document).encode()
    buffer = BytesIO(members["model.weights.h5"])
    with h5py.File(buffer, "r+") as file:
        weights(file)
    members["model.weights.h5"] = buffer.getvalue()
    return archived(path, members)


def layer(document: Any, name: str) -> Any:
    return next(entry for entry in document["config"]["layers"] if entry["config"]["name"] == name)


def refused_cleanly(model: Path, *words: str) -> None:
    """Neither looking at the model nor quantizing it is possible, and nothing is left behind."""
    folder = model.parent
    before = set(folder.iterdir())
    refused(edgex("inspect", model.name, cwd=folder), REFUSED, model.name, *words)
    refused(edgex("quantize", model.name, "--target", "cpu", *FEW, cwd=folder), REFUSED, model.name, *words)
    assert set(folder.iterdir()) == before


def quantized(model: Path, *options: object, calib: tuple[object, ...] = FEW) -> tuple[dict[str, Path], Outcome]:
    """The artifacts of a model by precision and format, and what the command said."""
    outcome = edgex("quantize", model.name, "--target", "cpu", *calib, "--json", *options, cwd=model.parent)
    assert outcome.code == 0, outcome.err
    entries = outcome.document["artifacts"]
    return {f"{entry['precision']}.{entry['format']}": model.parent / entry["path"] for entry in entries}, outcome
