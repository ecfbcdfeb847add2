"""Damaged, hostile and unsupported Keras files: refused with a reason, nothing run, nothing unpacked."""

import base64
import io
import json
import marshal
import pickle
import re
import resource
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from keras_oracle import FORMATS, KERAS, save

from edgex.errors import EdgexError, ExitCode, ModelError, OutputError, UsageError
from edgex.graph.keras_layers import LAYERS
from edgex.graph.read_keras import read_keras

KERNEL = "layers/conv2d/vars/0"
Edit = Callable[[Any], None]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One small model in both formats, as bytes."""
    keras = KERAS["keras3"]
    image = keras.Input((8, 8, 3), name="image")
    tensor = keras.layers.Conv2D(4, 3, name="conv")(image)
    tensor = keras.layers.BatchNormalization(name="norm")(tensor)
    tensor = keras.layers.Dense(2, name="dense")(keras.layers.GlobalAveragePooling2D(name="pool")(tensor))
    model = keras.Model(image, tensor)
    model.compile("adam", "mse")
    folder = tmp_path_factory.mktemp("files")
    return {suffix: save(model, folder, suffix).read_bytes() for suffix in FORMATS}


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


@pytest.fixture
def archive(files: dict[str, bytes], tmp_path: Path) -> Archive:
    return Archive(files[".keras"], tmp_path / "model.keras")


def refusal(path: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        read_keras(path)
    assert str(path) in caught.value.message
    assert caught.value.fix
    assert caught.value.exit_code == ExitCode.MODEL_REFUSED
    return caught.value


def layer_config(document: Any, name: str) -> Any:
    return next(layer for layer in document["config"]["layers"] if layer["config"]["name"] == name)


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


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda d: d["config"]["layers"].append(lambda_layer(Path("never"))), "payload"),
        (lambda d: layer_config(d, "conv")["config"].update(activation=function("evil")), "conv.*evil"),
        (lambda d: layer_config(d, "conv")["config"].update(kernel_initializer=function("evil")), "conv.*evil"),
        (lambda d: layer_config(d, "conv").update(module="evil.layers"), "conv"),
        (lambda d: layer_config(d, "conv").update(registered_name="Mine>Conv2D"), "conv.*Mine>Conv2D"),
        (lambda d: layer_config(d, "conv").update(class_name="MyLayer", registered_name="Mine>MyLayer"), "MyLayer"),
        (lambda d: layer_config(d, "conv").update(class_name="MyLayer"), "conv.*MyLayer"),
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
    assert "'conv' is a Attention" in error.message
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
        ("conv", {"activation": {"class_name": "ELU", "config": {"name": "e", "alpha": 0.5}}}, "alpha"),
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


def test_constant_operand(tmp_path: Path) -> None:
    keras = KERAS["keras3"]
    image = keras.Input((4, 4, 3))
    assert "2.0" in refusal(save(keras.Model(image, image * 2.0), tmp_path, ".keras")).message


def test_multiplying_more_than_two(tmp_path: Path) -> None:
    keras = KERAS["keras3"]
    image = keras.Input((4, 4, 3))
    model = keras.Model(image, keras.layers.Multiply(name="product")([image, image, image]))
    assert "'product'" in refusal(save(model, tmp_path, ".keras")).message


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


# Archives and HDF5 files that are weapons


def test_members_outside_the_archive(archive: Archive) -> None:
    for name in ("../evil", "/evil", "assets/../../evil", "..\\evil"):
        archive.members[name] = b"x"
        assert "outside" in refusal(archive.write()).message
        del archive.members[name]


def test_duplicate_members(archive: Archive) -> None:
    path = archive.write()
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("config.json", "{}")
    assert "2 times" in refusal(path).message


def test_zip_bomb(archive: Archive) -> None:
    archive.members["model.weights.h5"] = bytes(256 << 20)
    assert "bomb" in bounded_refusal(archive.write(zipfile.ZIP_DEFLATED))


def test_huge_configuration(archive: Archive) -> None:
    noise = np.random.default_rng(0).integers(32, 127, 1 << 20, np.uint8).tobytes()
    archive.members["config.json"] = noise * 65
    assert "MiB" in bounded_refusal(archive.write())


def test_archive_that_claims_too_much(archive: Archive) -> None:
    """The directory of a zip is believed only so far; here it claims 4 GiB for each member, stored."""
    content = bytearray(archive.write().read_bytes())
    position = content.find(b"PK\x01\x02")
    while position >= 0:
        struct.pack_into("<II", content, position + 20, 0xFFFFFFF0, 0xFFFFFFF0)
        position = content.find(b"PK\x01\x02", position + 1)
    archive.path.write_bytes(content)
    assert "8 GiB" in bounded_refusal(archive.path)


def unwritten(file: Any) -> None:
    file.create_dataset(KERNEL, shape=(1 << 14, 1 << 14), dtype="f4", chunks=(64, 64))


def compressed(file: Any) -> None:
    file.create_dataset(KERNEL, data=np.zeros((1 << 11, 1 << 11), "f4"), compression="gzip")


def enormous(file: Any) -> None:
    file.create_dataset(KERNEL, shape=(1 << 40,), dtype="f4", chunks=(1 << 10,))


def linked(file: Any) -> None:
    file[KERNEL] = h5py.ExternalLink("other.h5", "/data")


def soft(file: Any) -> None:
    file[KERNEL] = h5py.SoftLink("/layers/conv2d/vars/1")


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((3, 3, 3, 4), "f4")
    layout[...] = h5py.VirtualSource("other.h5", "data", (3, 3, 3, 4))
    file.create_virtual_dataset(KERNEL, layout)


def external(file: Any) -> None:
    file.create_dataset(KERNEL, (3, 3, 3, 4), "f4", external=[("/etc/passwd", 0, 432)])


def objects(file: Any) -> None:
    file.create_dataset(KERNEL, data=["x"] * 108, dtype=h5py.string_dtype())


def group(file: Any) -> None:
    file.create_group(KERNEL)


def text(file: Any) -> None:
    file.create_dataset(KERNEL, data=np.full((3, 3, 3, 4), b"x"))


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        (unwritten, "bomb"),
        (compressed, "bomb"),
        (enormous, "bomb"),
        (linked, "link"),
        (soft, "link"),
        (virtual, "another file"),
        (external, "another file"),
        (objects, "not numbers"),
        (text, "not numbers"),
        (group, "no weights"),
    ],
)
def test_hdf5_attack(archive: Archive, attack: Edit, reason: str) -> None:
    def spoil(file: Any) -> None:
        del file[KERNEL]
        attack(file)

    assert reason in bounded_refusal(archive.weights(spoil).write())


def test_link_instead_of_a_group(archive: Archive) -> None:
    def spoil(file: Any) -> None:
        del file["layers/conv2d"]
        file["layers/conv2d"] = h5py.ExternalLink("other.h5", "/")

    assert "link" in refusal(archive.weights(spoil).write()).message


def test_one_dataset_under_many_names(files: dict[str, bytes], tmp_path: Path) -> None:
    """64 MiB on disk, 130 layers that all name it: over 8 GiB if it were read that often."""
    layers = [
        {"class_name": "Dense", "config": {"name": f"d{n}", "units": 4096, "use_bias": False}} for n in range(130)
    ]
    config = {"name": "many", "layers": layers, "build_input_shape": [None, 4096]}
    archive = Archive(files[".keras"], tmp_path / "model.keras")
    archive.members["config.json"] = json.dumps({"class_name": "Sequential", "config": config}).encode()

    def spoil(file: Any) -> None:
        data = file.create_dataset("data", data=np.ones((4096, 4096), np.float32))
        for number in range(130):
            file[f"layers/dense_{number}/vars/0" if number else "layers/dense/vars/0"] = data

    def clear(file: Any) -> None:
        del file["layers"]
        spoil(file)

    assert "bomb" in refusal(archive.weights(clear).write()).message


def bounded_refusal(path: Path) -> str:
    """The refusal's message; fails if memory was set aside for what the file claims."""
    tracemalloc.start()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        message = refusal(path).message
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert peak < 8 << 20, f"{peak} bytes allocated"
    assert grown < 64 << 20, f"{grown} bytes more resident"
    return message


# Bytes at random


@pytest.mark.parametrize("suffix", FORMATS)
def test_random_damage_raises_nothing_else(files: dict[str, bytes], suffix: str, tmp_path: Path) -> None:
    """In a child process: the HDF5 library may also crash on bytes that no one wrote."""
    code = """
import pathlib, random, sys
from edgex.errors import EdgexError
from edgex.graph.read_keras import read_keras
path, content = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[1]).read_bytes()
random.seed(0)
refused = 0
for _ in range(300):
    spoilt = bytearray(content)
    for _ in range(random.choice([1, 4, 30])):
        spoilt[random.randrange(len(spoilt))] = random.randrange(256)
    path.write_bytes(spoilt[: random.choice([None, None, random.randrange(len(spoilt))])])
    try:
        read_keras(path)
    except EdgexError:
        refused += 1
print(refused)
"""
    path = tmp_path / f"model{suffix}"
    path.write_bytes(files[suffix])
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 50


@pytest.mark.parametrize("document", ["[]", "3", "{}", '{"class_name": "Functional"}', "[" * 100_000, "{\x00", ""])
def test_configuration_that_is_none(archive: Archive, document: str) -> None:
    archive.members["config.json"] = document.encode()
    assert "damaged" in refusal(archive.write()).message


def test_references_to_nothing_and_in_circles(archive: Archive) -> None:
    def nothing(document: Any) -> None:
        document["config"]["output_layers"] = ["nowhere", 0, 0]

    def circle(document: Any) -> None:
        layer_config(document, "conv")["inbound_nodes"][0]["args"][0]["config"]["keras_history"] = ["norm", 0, 0]

    content = dict(archive.members)
    for spoil in (nothing, circle):
        archive.members = dict(content)
        with pytest.raises(EdgexError, match="damaged"):
            read_keras(archive.config(spoil).write())
