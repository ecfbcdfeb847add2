"""Counts are those of Keras, and multiply-accumulates those one counts by hand."""

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest
from command import edgex

from edgex.graph.read import read_model
from edgex.inspection import inspect_graph

layers = keras.layers


def counted(model: Any) -> tuple[int, int]:
    """Parameters, and those that are trained."""
    return model.count_params(), sum(variable.value.shape.num_elements() for variable in model.trainable_variables)


@pytest.mark.parametrize(
    ("name", "parameters", "trainable"),
    [("Xception", 22_910_480, 22_855_952), ("InceptionV3", 23_851_784, 23_817_352)],
)
def test_full_models(name: str, parameters: int, trainable: int, tmp_path: Path) -> None:
    model = getattr(keras.applications, name)(weights=None)
    assert counted(model) == (parameters, trainable)
    model.save(tmp_path / "model.keras")
    document = edgex("inspect", "model.keras", "--json", cwd=tmp_path).document
    assert document["parameters"] == parameters
    assert document["trainable_parameters"] == trainable
    assert document["bytes"] == 4 * parameters
    if name == "Xception":
        assert round(document["macs"] / 1e9, 1) == 8.4
        assert document["largest_tensor"] == 147 * 147 * 128
        names = [layer["name"] for layer in document["layers"]]
        assert "block5_sepconv2" in names
        assert document["regular_macs"] > 5 * document["macs"]
        separable = [layer["separable"] for layer in document["layers"] if "separable" in layer]
        assert len(separable) == 34
        assert (
            "22,910,480 parameters (22,855,952 trainable), 8.36 GMAC"
            in edgex("inspect", "model.keras", cwd=tmp_path).out
        )


def test_multiply_accumulates_by_hand(tmp_path: Path) -> None:
    image = keras.Input((20, 30, 3))
    tensor = layers.Conv2D(8, (3, 5), strides=2, padding="same", name="conv")(image)  # 10×15×8
    tensor = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(tensor)  # 8×13×16
    tensor = layers.SeparableConv2D(6, 3, padding="same", name="separable")(tensor)  # 8×13×6
    tensor = layers.Conv2D(4, 3, dilation_rate=2, name="dilated")(tensor)  # 4×9×4
    tensor = layers.MaxPooling2D(2, name="pool")(tensor)  # 2×4×4
    tensor = layers.Dense(5, name="pointwise")(tensor)  # at each of 2×4 positions
    keras.Model(image, layers.Dense(7, name="scores")(layers.Flatten()(tensor))).save(tmp_path / "model.keras")
    inspection = inspect_graph(read_model(tmp_path / "model.keras"))
    macs = {layer.name: layer.macs for layer in inspection.layers if layer.macs}
    assert macs == {
        "conv": 10 * 15 * 3 * 5 * 3 * 8,
        "depthwise": 8 * 13 * 3 * 3 * 16,
        "separable": 8 * 13 * (3 * 3 * 16 + 16 * 6),
        "dilated": 4 * 9 * 3 * 3 * 6 * 4,
        "pointwise": 2 * 4 * 4 * 5,
        "scores": 2 * 4 * 5 * 7,
    }
    assert inspection.macs == sum(macs.values())
    shapes = {layer.name: layer.shape for layer in inspection.layers}
    assert (shapes["conv"], shapes["dilated"], shapes["pool"]) == ((10, 15, 8), (4, 9, 4), (2, 4, 4))


def test_what_it_would_cost_without_separable_convolutions(tmp_path: Path) -> None:
    """As a network counts that has regular ones: the separable layer and the pair of layers are told apart from all
    else."""

    def model(separable: bool) -> Any:
        tensor = image = keras.Input((21, 21, 3))
        tensor = layers.Conv2D(8, 3)(tensor)
        if separable:
            tensor = layers.SeparableConv2D(12, 3, padding="same", depth_multiplier=2)(tensor)
            tensor = layers.DepthwiseConv2D(5, strides=2, padding="same")(tensor)
            tensor = layers.ReLU()(layers.BatchNormalization()(tensor))
            tensor = layers.Conv2D(16, 1)(tensor)
        else:
            tensor = layers.Conv2D(12, 3, padding="same")(tensor)
            tensor = layers.Conv2D(16, 5, strides=2, padding="same")(tensor)
        tensor = layers.Conv2D(6, 1)(tensor)
        return keras.Model(image, layers.Dense(4)(layers.GlobalAveragePooling2D()(tensor)))

    documents = []
    for separable in (True, False):
        model(separable).save(tmp_path / "model.keras")
        documents.append(edgex("inspect", "model.keras", "--json", cwd=tmp_path).document)
        shown = edgex("inspect", "model.keras", cwd=tmp_path).out
        assert ("Without separable convolutions: " in shown) == ("K²CC′" in shown) == separable
    split, regular = documents
    assert split["regular_macs"] == regular["macs"] == regular["regular_macs"]
    found = [layer["separable"] for layer in split["layers"] if "separable" in layer]
    assert [each["ratio"] for each in found] == [each["regular_macs"] / each["macs"] for each in found]
    assert split["regular_macs"] - split["macs"] == sum(each["regular_macs"] - each["macs"] for each in found)


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("center", [True, False])
def test_parameters_of_batch_norm(scale: bool, center: bool, tmp_path: Path) -> None:
    image = keras.Input((8, 8, 3))
    tensor = layers.Conv2D(5, 3, use_bias=False)(image)
    model = keras.Model(image, layers.BatchNormalization(scale=scale, center=center)(tensor))
    model.save(tmp_path / "model.keras")
    inspection = inspect_graph(read_model(tmp_path / "model.keras"))
    assert (inspection.parameters, inspection.trainable_parameters) == counted(model)


def test_what_keras_freezes_counts_as_trainable(tmp_path: Path) -> None:
    """A frozen layer can be thawed; only batch norm's statistics are never trained."""
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.Dense(4)(layers.Conv2D(5, 3, trainable=False)(image)))
    model.save(tmp_path / "model.keras")
    inspection = inspect_graph(read_model(tmp_path / "model.keras"))
    assert inspection.parameters == inspection.trainable_parameters == model.count_params()
