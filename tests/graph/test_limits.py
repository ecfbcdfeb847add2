"""Models that ask for more layers, larger tensors or more weights than any model needs: refused in no time."""

import json
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from keras_spoiling import Archive, layer_config, refusal

from edgex.errors import UsageError
from edgex.graph import building
from edgex.graph.limits import LAYER_LIMIT
from edgex.graph.read_keras import read_keras

SOON = 10.0
"""Seconds; what is refused too late takes minutes."""


def called(layer: str, *reads: tuple[str, int]) -> dict[str, Any]:
    """A layer called once on each of some tensors, as Keras 3 writes it."""
    calls = [
        {"args": [{"class_name": "__keras_tensor__", "config": {"keras_history": [*read, 0]}}], "kwargs": {}}
        for read in reads
    ]
    return {"class_name": "ReLU", "name": layer, "config": {"name": layer}, "inbound_nodes": calls}


def functional(*layers: dict[str, Any], output: tuple[str, int]) -> dict[str, Any]:
    image = {"class_name": "InputLayer", "config": {"name": "image", "batch_shape": [None, 8, 8, 3]}}
    inner = {"layers": [{**image, "inbound_nodes": []}, *layers], "name": "model"}
    return {
        "class_name": "Functional",
        "config": {**inner, "input_layers": ["image", 0, 0], "output_layers": [*output, 0]},
    }


def configured(archive: Archive, document: dict[str, Any]) -> Path:
    archive.members["config.json"] = json.dumps(document).encode()
    return archive.write()


def test_dead_layers_of_a_model_that_is_called_often(archive: Archive) -> None:
    dead = [called(f"dead{number}") for number in range(5000)]
    inner = functional(called("relu", ("image", 0)), *dead, output=("relu", 0))["config"]
    calls = called("inner", ("image", 0), *(("inner", number) for number in range(3000)))
    document = functional({**calls, "class_name": "Functional", "config": inner}, output=("inner", 3000))
    start = time.monotonic()
    assert f"more than {LAYER_LIMIT}" in refusal(configured(archive, document)).message
    assert time.monotonic() - start < SOON


def test_a_model_of_keras_2_that_is_called_often(archive: Archive) -> None:
    """What each call refers to is found without looking at all the others."""
    image = {"class_name": "InputLayer", "config": {"name": "in", "batch_input_shape": [None, 8, 8, 3]}}
    ends = {"input_layers": [["in", 0, 0]], "output_layers": [["in", 0, 0]]}
    inner = {"name": "inner", "layers": [{**image, "inbound_nodes": []}], **ends}
    count = 100_000
    calls = [[["image", 0, 0, {}]], *([["inner", number, 0, {}]] for number in range(1, count))]
    layer = {"class_name": "Functional", "name": "inner", "config": inner, "inbound_nodes": calls}
    start = time.monotonic()
    assert (
        f"more than {LAYER_LIMIT}" in refusal(configured(archive, functional(layer, output=("inner", count)))).message
    )
    assert time.monotonic() - start < SOON


def test_a_sum_of_more_tensors_than_there_may_be_layers(archive: Archive) -> None:
    reads = [{"class_name": "__keras_tensor__", "config": {"keras_history": ["image", 0, 0]}}] * LAYER_LIMIT
    total = called("sum") | {"class_name": "Add", "inbound_nodes": [{"args": [reads], "kwargs": {}}]}
    assert f"more than {LAYER_LIMIT}" in refusal(configured(archive, functional(total, output=("sum", 0)))).message


@pytest.mark.parametrize(
    ("class_name", "change", "named"),
    [
        ("MaxPooling2D", {"pool_size": [1, 1], "strides": [1 << 31, 1], "padding": "same"}, "strides"),
        ("MaxPooling2D", {"pool_size": [1 << 20, 1], "strides": [1, 1], "padding": "same"}, "pool_size"),
        ("ZeroPadding2D", {"padding": [[0, 1 << 31], [0, 0]]}, "padding"),
        ("ZeroPadding2D", {"padding": [[16000, 0], [16000, 0]]}, "values"),
        ("Cropping2D", {"cropping": [[0, 10**400], [0, 0]]}, "cropping"),
        ("Reshape", {"target_shape": [1 << 40, -1]}, "shape"),
        ("Resizing", {"height": 1 << 31, "width": 1, "interpolation": "nearest"}, "height"),
        ("UpSampling2D", {"size": [16000, 16000], "interpolation": "nearest"}, "values"),
    ],
)
def test_extents_beyond_any_image(archive: Archive, class_name: str, change: dict[str, Any], named: str) -> None:
    layer = called("layer", ("image", 0)) | {"class_name": class_name}
    layer["config"] |= change
    message = refusal(configured(archive, functional(layer, output=("layer", 0)))).message
    assert f"'layer' ({class_name}) does not fit" in message
    assert named in message


def test_an_input_size_beyond_any_image(archive: Archive) -> None:
    with pytest.raises(UsageError, match="100000×100000: the layer 'image'"):
        read_keras(archive.write(), input_size=100_000)


@pytest.mark.parametrize(
    "class_name",
    [
        "AveragePooling2D",
        "GlobalAveragePooling2D",
        "GlobalMaxPooling2D",
        "MaxPooling2D",
        "UpSampling2D",
        "ZeroPadding2D",
    ],
)
def test_an_operation_on_images_reads_something_else(archive: Archive, class_name: str) -> None:
    flat = called("flat", ("image", 0)) | {"class_name": "Flatten"}
    layer = called("layer", ("flat", 0)) | {"class_name": class_name}
    layer["config"] |= {"pool_size": 2, "strides": 2, "padding": "same", "size": 2, "interpolation": "nearest"}
    if class_name == "ZeroPadding2D":
        layer["config"]["padding"] = [[1, 1], [1, 1]]
    message = refusal(configured(archive, functional(flat, layer, output=("layer", 0)))).message
    assert "needs an image, got shape (192,)" in message


def test_weights_of_all_calls_count(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    def shared(document: Any) -> None:
        norm = layer_config(document, "norm")
        norm["inbound_nodes"] += called("norm", ("norm", 0), ("norm", 1))["inbound_nodes"]

    path = archive.config(shared).write()
    once = (3 * 3 * 3 * 4 + 4) + (4 * 2 + 2)
    monkeypatch.setattr(building, "WEIGHTS_LIMIT", 4 * (once + 3 * 16))
    assert read_keras(path).outputs == ("dense",)
    monkeypatch.setattr(building, "WEIGHTS_LIMIT", 4 * (once + 3 * 16) - 1)
    assert "weights of all calls" in refusal(path).message


def test_constants_take_no_memory(archive: Archive) -> None:
    """However many channels a layer claims: here 64 million, twice."""
    layers = [
        {"class_name": "InputLayer", "config": {"name": "image", "batch_shape": [None, 1, 1, 1 << 26]}},
        {"class_name": "Normalization", "config": {"name": "norm", "axis": -1, "mean": 1.0, "variance": 4.0}},
    ]
    document = {"class_name": "Sequential", "config": {"name": "model", "layers": layers}}
    node = read_keras(configured(archive, document))["norm"]
    for key, value in (("scale", 0.5), ("offset", -0.5)):
        assert node.params[key].shape == (1 << 26,)
        assert node.params[key].strides == (0,)
        assert node.params[key][-1] == value


def test_memory_that_is_not_there(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(_dataset: object, _key: object) -> None:
        raise MemoryError

    path = archive.write()
    monkeypatch.setattr(h5py.Dataset, "__getitem__", exhausted)
    assert "not enough memory" in refusal(path).message


def test_what_a_message_quotes_can_be_shown(archive: Archive) -> None:
    """A class name may hold what a terminal would obey."""
    name = "\x1b]0;title\x07" + "x" * 100_000
    message = refusal(archive.config(lambda d: layer_config(d, "conv").update(class_name=name)).write()).message
    assert "\\x1b]0;title\\x07xxx" in message
    assert message.isprintable()
    assert len(message) < 3000


@pytest.mark.parametrize("name", [{"a": 1}, 7, "\ud800", "a\0b", "x" * 1001])
def test_names_that_no_format_takes(archive: Archive, name: object) -> None:
    path = archive.config(lambda d: layer_config(d, "conv").update(name=name)).write()
    assert "no name" in refusal(path).message


def test_weights_in_another_precision_count_as_float32(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    def halved(file: Any) -> None:
        values = file["layers/conv2d/vars/0"][...].astype(np.float16)
        del file["layers/conv2d/vars/0"]
        file["layers/conv2d/vars/0"] = values

    path = archive.weights(halved).write()
    assert read_keras(path)["conv"].params["kernel"].dtype == np.float32
    monkeypatch.setattr("edgex.graph.hdf5.WEIGHTS_LIMIT", 4 * 3 * 3 * 3 * 4 - 1)
    assert "conv2d/vars/0" in refusal(path).message
