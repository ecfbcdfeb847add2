"""Keras files made to exhaust memory, reach other files or crash the reader: refused before they do."""

import json
import resource
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from keras_oracle import FORMATS
from keras_spoiling import Archive, Edit, layer_config, refusal

from edgex.errors import EdgexError
from edgex.graph.read_keras import read_keras

KERNEL = "layers/conv2d/vars/0"


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
    assert "config.json is over 8 MiB" in bounded_refusal(archive.path)


def unwritten(file: Any) -> None:
    file.create_dataset(KERNEL, shape=(1 << 14, 1 << 14), dtype="f4")


def unwritten_chunks(file: Any) -> None:
    file.create_dataset(KERNEL, shape=(1 << 14, 1 << 14), dtype="f4", chunks=(64, 64))


def compressed(file: Any) -> None:
    file.create_dataset(KERNEL, data=np.zeros((1 << 11, 1 << 11), "f4"), compression="gzip")


def summed(file: Any) -> None:
    file.create_dataset(KERNEL, data=np.zeros((3, 3, 3, 4), "f4"), shuffle=True, fletcher32=True)


def enormous(file: Any) -> None:
    file.create_dataset(KERNEL, shape=(1 << 40,), dtype="f4")


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
        (unwritten_chunks, "in chunks"),
        (compressed, "the filters deflate"),
        (summed, "the filters shuffle, fletcher32"),
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


def test_string_heap_that_never_ends(files: dict[str, bytes], tmp_path: Path) -> None:
    """Free space of no size sends the HDF5 library round in circles, where not even Ctrl-C reaches it."""
    content = bytearray(files[".h5"])
    struct.pack_into("<H6xQ", content, content.find(b"GCOL") + 16, 0, 0)
    path = tmp_path / "model.h5"
    path.write_bytes(content)
    assert "heap" in refusal(path).message


@pytest.mark.parametrize("value", [3.0, [1, 2]])
def test_configuration_that_is_not_text(files: dict[str, bytes], value: object, tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    path.write_bytes(files[".h5"])
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = value
    assert "'model_config' is not text" in refusal(path).message


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
