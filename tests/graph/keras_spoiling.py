"""Taking a Keras file apart, spoiling it, and seeing it refused."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from edgex.errors import ExitCode, ModelError
from edgex.graph.read_keras import read_keras

Edit = Callable[[Any], None]


class Archive:
    """A ``.keras`` file to be spoilt."""

    def __init__(self, content: bytes, path: Path) -> None:
        self.path = path
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            self.members = {name: archive.read(name) for name in archive.namelist()}

    def config(self, edit: Edit) -> "Archive":
        document = json.loads(self.members["config.json"])
        edit(document)
        self.members["config.json"] = json.dumps(document).encode()
        return self

    def weights(self, edit: Edit) -> "Archive":
        buffer = io.BytesIO(self.members["model.weights.h5"])
        with h5py.File(buffer, "r+") as file:
            edit(file)
        self.members["model.weights.h5"] = buffer.getvalue()
        return self

    def write(self, compression: int = zipfile.ZIP_STORED) -> Path:
        with zipfile.ZipFile(self.path, "w", compression) as archive:
            for name, content in self.members.items():
                archive.writestr(name, content)
        return self.path


def refusal(path: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        read_keras(path)
    assert str(path) in caught.value.message
    assert caught.value.fix
    assert caught.value.exit_code == ExitCode.MODEL_REFUSED
    return caught.value


def layer_config(document: Any, name: str) -> Any:
    return next(layer for layer in document["config"]["layers"] if layer["config"]["name"] == name)
