"""What is not a Keras model, or holds what edgex cannot or will not take: refused with a reason, nothing run."""

import base64
import json
import marshal
import pickle
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest
import tensorflow as tf
from keras_oracle import FORMATS, KERAS, save
from keras_spoiling import Archive, Edit, layer_config, refusal

from edgex.errors import OutputError, UsageError
from edgex.graph.keras_config import TF_INITIALIZERS
from edgex.graph.keras_layers import LAYERS
from edgex.graph.read_keras import read_keras

KERNEL = "layers/conv2d/vars/0"


def test_the_unspoilt_files_are_read(files: dict[str, bytes], archive: Archive) -> None:
    for suffix, content in files.items():
        path = archive.path.with_suffix(suffix)
        path.write_bytes(content)
        assert read_keras(path).outputs == ("dense",)
    assert read_keras(archive.write()).outputs == ("dense",)
    assert read_keras(archive.write(zipfile.ZIP_DEFLATED)).outputs == ("dense",)


# By content


@pytest.mark.parametrize("fraction", [0.02, 0.5, 0.99])
def test_truncated_zip(files: dict[str, bytes], fraction: float, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(files[".keras"][: int(len(files[".keras"]) * fraction)])
    assert "damaged" in refusal(path).message
    code = (
        "import sys, pathlib, edgex.graph.read_keras as r\n"
        "try: r.read_keras(pathlib.Path(sys.argv[1]))\n"
        "except r.ModelError: print([m for m in ('h5py', 'keras', 'onnx', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("content", "description"),
    [
        (pickle.dumps({"weights": [1.0]}), "a pickle"),
        (b"import os\nprint('model')\n", "text"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (b"\x1c\0\0\0TFL3" + bytes(100), "TFLite"),
        (b"", "empty"),
        (bytes(range(255, 155, -1)), "unknown"),
    ],
)
def test_something_else_renamed(content: bytes, description: str, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    assert description in refusal(path).message


def test_formats_renamed_to_each_other(files: dict[str, bytes], tmp_path: Path) -> None:
    for suffix, other in (FORMATS, FORMATS[::-1]):
        path = tmp_path / f"model{suffix}"
        path.write_bytes(files[other])
        assert "by its content" in refusal(path).message


def test_other_zip(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    np.savez(path.open("wb"), x=np.zeros(3))
    assert "config.json" in refusal(path).message


def test_weights_alone(archive: Archive) -> None:
    path = archive.path.with_suffix(".h5")
    path.write_bytes(archive.members["model.weights.h5"])
    assert "without the model" in refusal(path).message


def test_saved_model_is_told_how_to_become_keras(tmp_path: Path) -> None:
    keras = KERAS["keras3"]
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.export(tmp_path / "saved", format="tf_saved_model", verbose=False)
    error = refusal(tmp_path / "saved")
    assert "SavedModel" in error.message
    assert "model.save('model.keras')" in error.fix
    assert "directory" in refusal(tmp_path).message


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read_keras(tmp_path / "no.keras")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be read"):
        read_keras(tmp_path / "file" / "model.keras")


# Code


def lambda_layer(canary: Path) -> dict[str, Any]:
    """A Lambda layer that writes the canary file when it is called, as Keras 3 saves it."""
    code = compile(f"lambda x: (open({str(canary)!r}, 'w').close(), x)[1]", "lambda", "eval").co_consts[0]
    function = {"code": base64.b64encode(marshal.dumps(code)).decode(), "defaults": None, "closure": None}
    return {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"name": "payload", "function": {"class_name": "__lambda__", "config": function}, "arguments": {}},
        "registered_name": None,
        "name": "payload",
        "inbound_nodes": [],
    }


def test_lambda_never_runs(archive: Archive, tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    def spoil(document: Any) -> None:
        pool, payload = layer_config(document, "pool"), lambda_layer(canary)
        payload["inbound_nodes"] = json.loads(json.dumps(pool["inbound_nodes"]))
        pool["inbound_nodes"][0]["args"][0]["config"]["keras_history"][0] = "payload"
        document["config"]["layers"].insert(3, payload)

    path = archive.config(spoil).write()
    error = refusal(path)
    assert "Lambda 'payload'" in error.message
    assert not canary.exists()
    KERAS["keras3"].saving.load_model(path, safe_mode=False)
    assert canary.exists(), "the payload is harmless, so this test shows nothing"


INITIALIZER = {"module": TF_INITIALIZERS, "class_name": "Constant", "config": {"value": 0}}


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda d: d["config"]["layers"].append(lambda_layer(Path("never"))), "payload"),
        (lambda d: layer_config(d, "conv")["config"].update(activation=function("evil")), "conv.*evil"),
        (lambda d: layer_config(d, "conv")["config"].update(kernel_initializer=function("evil")), "conv.*evil"),
        (lambda d: layer_config(d, "conv").update(module="evil.layers"), "conv"),
        (lambda d: layer_config(d, "conv")["config"].update(activation=INITIALIZER), "conv.*code.*Constant"),
        (lambda d: layer_config(d, "conv").update(registered_name="Mine>Conv2D"), "conv.*Mine>Conv2D"),
        (lambda d: layer_config(d, "conv").update(class_name="MyLayer", registered_name="Mine>MyLayer"), "MyLayer"),
        (lambda d: layer_config(d, "conv").update(class_name="MyLayer"), "conv.*MyLayer"),
        (
            lambda d: layer_config(d, "conv").update(class_name="Custom>Conv2D", registered_name="Conv2D"),
            "conv.*Custom>",
        ),
        (lambda d: layer_config(d, "pool").update(module="keras.src.ops.nn"), "pool"),
        (lambda d: d.update(class_name="MyModel"), "MyModel"),
    ],
)
def test_foreign_code_is_named(archive: Archive, spoil: Edit, named: str) -> None:
    error = refusal(archive.config(spoil).write())
    assert re.search(named, error.message)


def function(name: str) -> dict[str, Any]:
    return {"module": "builtins", "class_name": "function", "config": name, "registered_name": "function"}


def test_unknown_layer_lists_those_supported(archive: Archive) -> None:
    error = refusal(archive.config(lambda d: layer_config(d, "conv").update(class_name="Attention")).write())
    assert "'conv' is of class Attention" in error.message
    assert all(name in error.fix for name in LAYERS)


def test_what_only_training_uses_is_ignored(archive: Archive) -> None:
    def spoil(document: Any) -> None:
        document["compile_config"] = {"loss": function("evil"), "optimizer": {"module": "evil", "class_name": "Evil"}}

    def optimizer(file: Any) -> None:
        file["optimizer/vars/9"] = h5py.ExternalLink("/etc/passwd", "/")

    assert read_keras(archive.config(spoil).weights(optimizer).write()).outputs == ("dense",)


# What cannot be said in the graph


@pytest.mark.parametrize(
    ("layer", "change", "named"),
    [
        ("conv", {"data_format": "channels_first"}, "channels_first"),
        ("conv", {"padding": "causal"}, "causal"),
        ("conv", {"activation": "selu"}, "selu"),
        ("conv", {"activation": {"class_name": "PReLU", "config": {"name": "p"}}}, "PReLU"),
        ("conv", {"activation": {"class_name": "ReLU", "config": {"name": "r", "threshold": 1.0}}}, "threshold"),
        ("conv", {"filters": 5}, "shape"),
        ("conv", {"strides": [0, 1]}, "strides"),
        ("conv", {"use_bias": False}, "2 weights"),
        ("norm", {"axis": 1}, "axis"),
        ("norm", {"scale": False}, "4 weights"),
    ],
)
def test_unsupported_or_impossible_configuration(
    archive: Archive, layer: str, change: dict[str, Any], named: str
) -> None:
    error = refusal(archive.config(lambda d: layer_config(d, layer)["config"].update(change)).write())
    assert repr(layer) in error.message
    assert named in error.message


@pytest.mark.parametrize(("argument", "value"), [("training", True), ("mask", [1]), ("other", 3)])
def test_unusual_call(archive: Archive, argument: str, value: object) -> None:
    def spoil(document: Any) -> None:
        layer_config(document, "norm")["inbound_nodes"][0]["kwargs"][argument] = value

    assert argument in refusal(archive.config(spoil).write()).message


def test_two_tensors_for_one(archive: Archive) -> None:
    def spoil(document: Any) -> None:
        arguments = layer_config(document, "conv")["inbound_nodes"][0]["args"]
        arguments.append(arguments[0])

    assert "2 tensors" in refusal(archive.config(spoil).write()).message


@pytest.mark.parametrize("shape", [[None, 8, 8, None], [None, 8, 8, "3"], [None, None, 3], [None, 0, 8, 3]])
def test_input_that_is_no_image(archive: Archive, shape: list[object]) -> None:
    error = refusal(archive.config(lambda d: layer_config(d, "image")["config"].update(batch_shape=shape)).write())
    assert "'image' has the shape" in error.message


def test_model_quantized_by_keras(tmp_path: Path) -> None:
    keras = KERAS["keras3"]
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")])
    model.quantize("int8")
    assert "'dense'" in refusal(save(model, tmp_path, ".keras")).message


@pytest.mark.parametrize(
    ("keras", "operation", "named"),
    [
        ("keras3", lambda x: x - 2.0, r"'subtract\w*' is of class Subtract"),
        ("keras3", lambda x: x * np.ones(3, np.float32), r"'multiply\w*' \(Multiply\) is called on .*__numpy__"),
        ("keras3", lambda x: x + True, r"'add\w*' \(Add\) is called on True"),
        ("keras3", lambda x: x * np.inf, r"'multiply\w*' \(Rescaling\) has a constant that is not finite"),
        ("tf_keras", lambda x: x - 2.0, r"'tf.math.subtract\w*' is of class math.subtract"),
        ("tf_keras", lambda x: tf.add(x, [1.0, 2.0, 3.0]), r"'tf.math.add\w*' \(TFOpLambda\) is called on \[1"),
        ("tf_keras", lambda x: tf.nn.relu(x), r"'tf.nn.relu\w*' is of class nn.relu"),
    ],
)
@pytest.mark.parametrize("suffix", FORMATS)
def test_operator(keras: str, operation: Edit, named: str, suffix: str, tmp_path: Path) -> None:
    image = KERAS[keras].Input((4, 4, 3))
    message = refusal(save(KERAS[keras].Model(image, operation(image)), tmp_path, suffix)).message
    assert re.search(named, message)


def test_one_operator_called_on_several_numbers(tmp_path: Path) -> None:
    keras = KERAS["keras3"]
    image, add = keras.Input((4, 4, 3)), keras.src.ops.numpy.Add(name="sum")
    path = save(keras.Model(image, add(add(image, 1.0), 2.0)), tmp_path, ".keras")
    assert "'sum' (Add) is called on the numbers [1.0, 2.0]" in refusal(path).message


@pytest.mark.parametrize("layer", ["Add", "Multiply"])
def test_operands_of_unlike_ranks(layer: str, tmp_path: Path) -> None:
    keras = KERAS["keras3"]
    image = keras.Input((4, 4, 3))
    pixel = keras.layers.GlobalMaxPooling2D()(image)
    model = keras.Model(image, getattr(keras.layers, layer)(name="joined")([image, pixel]))
    message = refusal(save(model, tmp_path, ".keras")).message
    assert "'joined'" in message
    assert "(4, 4, 3), (3,)" in message


@pytest.mark.parametrize("layer", ["Add", "Multiply"])
def test_one_operand(layer: str, archive: Archive) -> None:
    error = refusal(archive.config(lambda d: layer_config(d, "pool").update(class_name=layer)).write())
    assert f"'pool' ({layer}) does not fit: it is called on one tensor" in error.message


def scaling_model(keras: ModuleType, layer: type, branch: str) -> Any:
    image = keras.Input((4, 4, 3))
    scaled = keras.layers.Conv2D(3, 1, name=branch)(image)
    return keras.Model(image, layer(0.25, name="scaling")([image, scaled]))


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("registered", [False, True])
@pytest.mark.parametrize("keras", KERAS)
def test_a_class_named_like_the_one_of_inception_resnet(
    keras: str, registered: bool, suffix: str, tmp_path: Path
) -> None:
    class CustomScaleLayer(KERAS[keras].layers.Layer):  # type: ignore[misc, name-defined]  # Keras is untyped
        def __init__(self, scale: float, **arguments: Any) -> None:
            super().__init__(**arguments)
            self.scale = scale

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "scale": self.scale}

        def call(self, inputs: list[Any]) -> Any:
            return inputs[0] * self.scale + inputs[1]

    saving = getattr(KERAS[keras], "saving", KERAS[keras].utils)
    layer = saving.register_keras_serializable()(CustomScaleLayer) if registered else CustomScaleLayer
    error = refusal(save(scaling_model(KERAS[keras], layer, "conv"), tmp_path, suffix))
    assert "'scaling' has code of its own" in error.message


@pytest.mark.parametrize("module", ["mine", "keras.layers", "keras.src.applications", "tensorflow"])
def test_the_scaling_layer_of_another_module(module: str, tmp_path: Path) -> None:
    keras = KERAS["keras3"]
    own = keras.src.applications.inception_resnet_v2.CustomScaleLayer
    path = save(scaling_model(keras, own, "block8_10_conv"), tmp_path, ".keras")
    assert read_keras(path).outputs == ("scaling",)
    spoilt = Archive(path.read_bytes(), path).config(lambda d: layer_config(d, "scaling").update(module=module))
    assert "'scaling' has code of its own" in refusal(spoilt.write()).message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_named(archive: Archive, value: float) -> None:
    def spoil(file: Any) -> None:
        file[KERNEL][0, 0, 0, 0] = value
        file["layers/batch_normalization/vars/3"][1] = value

    message = refusal(archive.weights(spoil).write()).message
    assert "conv/kernel" in message
    assert "norm/variance" in message
    assert "dense" not in message


def test_negative_variance(archive: Archive) -> None:
    def spoil(file: Any) -> None:
        file["layers/batch_normalization/vars/3"][1] = -1.0

    assert "variance is negative" in refusal(archive.weights(spoil).write()).message


def test_a_model_calling_itself_exponentially(archive: Archive) -> None:
    """Models in models, each called twice: 40 levels would ask for a million million calls."""

    def spoil(document: Any) -> None:
        tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": ["image", 0, 0]}}
        call = {"args": [tensor], "kwargs": {}}
        inner = {"name": "level", "layers": document["config"]["layers"][:1]}
        inner |= {"input_layers": ["image", 0, 0], "output_layers": ["image", 0, 0]}
        for _ in range(40):
            layer = {"class_name": "Functional", "name": "level", "config": inner, "inbound_nodes": [call, call]}
            inner = inner | {"layers": [*document["config"]["layers"][:1], layer]}
        document["config"] = inner

    assert "more than" in refusal(archive.config(spoil).write()).message
