"""The demo model: Xception's layers, the accuracy it claims, and a training script that makes its like."""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from edgex.dataset import open_dataset
from edgex.demo.train import PREPROCESSING, Widths, build, train
from edgex.errors import OutputError
from edgex.preprocess import Preprocessing
from edgex.resources import demo_model

XCEPTION = Widths(stem=(32, 64), entry=(128, 256, 728), exit=(1024, 1536, 2048))


def architecture(path: Path) -> tuple[list[tuple[str, str]], dict[str, tuple[int, ...]]]:
    """Of a ``.keras`` file: class and name of the layers in order, and the shape of every array of weights."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, entry: object) -> None:
        if isinstance(entry, h5py.Dataset):
            shapes[name] = entry.shape

    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights:
            weights.visititems(note)
    return [(layer["class_name"], layer["name"]) for layer in config["config"]["layers"]], shapes


def test_with_xceptions_widths_it_is_xception():
    keras = pytest.importorskip("keras")
    keras.utils.clear_session()
    theirs = keras.applications.Xception(weights=None, input_shape=(71, 71, 3), classes=10).get_config()
    ours = build(XCEPTION, (71, 71, 3), 10).get_config()
    assert len(ours["layers"]) == len(theirs["layers"])
    assert [(layer["name"], layer["inbound_nodes"]) for layer in ours["layers"]] == [
        (layer["name"], layer["inbound_nodes"]) for layer in theirs["layers"]
    ]
    assert json.dumps(ours, default=str) == json.dumps(theirs, default=str)


def test_shipped_model_has_the_layers_of_xception():
    layers, shapes = architecture(demo_model())
    kinds = [kind for kind, _ in layers]
    assert len(layers) == 134
    assert kinds.count("SeparableConv2D") == 34
    assert kinds.count("Conv2D") == 2 + 4  # the stem, and the shortcuts
    assert kinds.count("Add") == 12
    assert ("SeparableConv2D", "block14_sepconv2") in layers
    assert not [name for name in shapes if "optimizer" in name]


def test_shipped_model_reads_held_out_digits():
    keras = pytest.importorskip("keras")
    model = keras.models.load_model(demo_model())
    digits = open_dataset("digits", role="evaluation")

    def accuracy(preprocessing: Preprocessing) -> float:
        ((_, images),) = digits.batches(preprocessing, batch=500)
        return np.mean(model.predict(images, verbose=0).argmax(axis=1) == digits.labels)

    assert accuracy(PREPROCESSING) >= 0.99
    assert accuracy(replace(PREPROCESSING, scale="none")) < 0.95, "any preprocessing would do"


@pytest.mark.slow
def test_training_makes_a_model_of_the_same_architecture(tmp_path):
    pytest.importorskip("tensorflow")
    accuracy = train(tmp_path / "new.keras", epochs=1)
    assert 0 < accuracy <= 1
    assert [path.name for path in tmp_path.iterdir()] == ["new.keras"]
    assert architecture(tmp_path / "new.keras") == architecture(demo_model())


@pytest.mark.parametrize("name", ["model.h5", "missing/model.keras"])
def test_output_is_checked_before_training(tmp_path, name):
    with pytest.raises(OutputError, match="Cannot write"):
        train(tmp_path / name)
