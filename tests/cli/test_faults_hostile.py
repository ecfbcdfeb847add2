"""Row 4 of the faults to survive: models that ask for more memory than there is, or for other files."""

import json
import math
import os
import struct
import zipfile
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from command import edgex, refused
from peak_memory import edgex_measured
from spoilt_demo import REFUSED, archived, demo_members, demo_with, layer, refused_cleanly

from edgex.errors import ExitCode
from edgex.graph.keras_archive import CONFIG_LIMIT
from edgex.graph.zip_archive import EXPANSION_LIMIT, INFLATED_LIMIT

MIB = 1 << 20
USUAL = 250 * MIB
"""A command that reads a small model takes less; most of it is Python and its libraries."""

KERNEL = "layers/conv2d/vars/0"
CONFIG, WEIGHTS = "config.json", "model.weights.h5"


def refused_in_memory(model: Path, most: int, *words: str) -> None:
    """Refused without ever holding more than so many bytes."""
    outcome, peak = edgex_measured("inspect", model.name, cwd=model.parent)
    refused(outcome, REFUSED, model.name, *words)
    assert peak < most, f"{peak / MIB:.0f} MiB"


def deflated(mebibytes: int, each: bytes = b"") -> bytes:
    """So many MiB of zeros, each with a few other bytes first, without the frame that zlib puts around."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(each + bytes(MIB - len(each))) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * mebibytes + packer.flush()


def framed(packed: bytes, mebibytes: int) -> bytes:
    """Deflated zeros as zlib frames them (RFC 1950): two bytes in front, the checksum behind."""
    return b"\x78\xda" + packed + struct.pack(">HH", (mebibytes * MIB) % 65521, 1)


def with_packed(path: Path, name: str, packed: bytes, claimed: int) -> Path:
    """The demo model with a deflated member of which the directory claims a size."""
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in (demo_members() | {name: packed}).items():
            archive.writestr(member, content)
        entry = archive.getinfo(name)  # closing writes it into the directory
        entry.compress_type, entry.file_size = zipfile.ZIP_DEFLATED, claimed
        entry.CRC = zlib.crc32(bytes(claimed)) if claimed < MIB else 0
    return path


def test_4_the_unspoilt_model_takes_less(folder: Path) -> None:
    model = archived(folder / "model.keras", demo_members())
    outcome, peak = edgex_measured("inspect", model.name, cwd=folder)
    assert outcome.code == 0
    assert peak < USUAL


# Zip


@pytest.mark.parametrize("name", [CONFIG, "metadata.json", WEIGHTS])
def test_4_zip_bomb(folder: Path, name: str) -> None:
    model = with_packed(folder / "m.keras", name, deflated(2048), 2048 * MIB)
    refused_in_memory(model, USUAL, name, "bomb")


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_4_zip_bomb_that_claims_to_be_small(folder: Path, name: str) -> None:
    model = with_packed(folder / "m.keras", name, deflated(1024), 1000)
    refused_in_memory(model, USUAL, "damaged")


def test_4_weights_packed_no_more_than_may_be(folder: Path) -> None:
    """Each MiB takes so many bytes that the whole stays below the ratio of a bomb."""
    size = INFLATED_LIMIT // MIB + 1
    packed = deflated(size, np.random.default_rng(0).bytes(6000))
    assert len(packed) > size * MIB / EXPANSION_LIMIT
    refused_in_memory(with_packed(folder / "m.keras", WEIGHTS, packed, size * MIB), USUAL, WEIGHTS, "bomb")


@pytest.mark.parametrize("zip64", [False, True])
def test_4_a_million_members(folder: Path, zip64: bool) -> None:
    """All with the same entry in the directory, whose end says how many bytes that has."""
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("x", b"")
    start = archive.start_dir
    local, entry, end = content.getvalue()[:start], content.getvalue()[start:-22], bytearray(content.getvalue()[-22:])
    directory = entry * 1_000_000
    if zip64:
        record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, len(directory), start)
        directory += record + struct.pack("<4sLQL", b"PK\x06\x07", 0, start + len(directory), 1)
    else:
        struct.pack_into("<L", end, 12, len(directory))
    (folder / "m.keras").write_bytes(local + directory + end)
    refused_in_memory(folder / "m.keras", USUAL, "directory", "bomb")


def test_4_members_elsewhere_or_twice(folder: Path) -> None:
    refused_cleanly(archived(folder / "out.keras", demo_members() | {"../escaped": b"text"}), "../escaped")
    model = archived(folder / "twice.keras", demo_members())
    with zipfile.ZipFile(model, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(CONFIG, "{}")
    refused_cleanly(model, CONFIG, "2 times")


# Configuration


def test_4_deep_configuration(folder: Path) -> None:
    deep = b'{"class_name": "Functional", "config": ' + b"[" * 1_000_000
    refused_in_memory(archived(folder / "m.keras", demo_members() | {CONFIG: deep}), USUAL, "damaged")


def test_4_wide_configuration(folder: Path) -> None:
    """As many objects as a configuration can hold, and more."""
    start, item, end = b'{"class_name": "Functional", "config": {"layers": [', b'{"":0},', b"0]}}"
    wide = start + item * ((CONFIG_LIMIT - len(start + end)) // len(item)) + end
    refused_in_memory(archived(folder / "m.keras", demo_members() | {CONFIG: wide}), 500 * MIB, "damaged")
    wider = start + item * (2 * CONFIG_LIMIT // len(item)) + end
    refused_in_memory(archived(folder / "m.keras", demo_members() | {CONFIG: wider}), USUAL, CONFIG, "8 MiB")
    with h5py.File(folder / "m.h5", "w") as file:
        file.attrs["model_config"] = wider.decode()
    refused_in_memory(folder / "m.h5", USUAL, "model_config", "8 MiB")


def sequential(path: Path, shape: list[int], *layers: tuple[str, dict[str, Any]]) -> Path:
    """A model whose layers have no weights."""
    image = ("InputLayer", {"batch_shape": [None, *shape]})
    documents = [
        {"class_name": name, "config": {"name": f"{name}_{number}", **config}}
        for number, (name, config) in enumerate((image, *layers))
    ]
    config = {"class_name": "Sequential", "config": {"name": "model", "layers": documents}}
    weights = BytesIO()
    with h5py.File(weights, "w") as file:
        file.create_group("layers")
    members = {CONFIG: json.dumps(config).encode(), "metadata.json": b"{}", WEIGHTS: weights.getvalue()}
    return archived(path, members)


NORMALIZATION = ("Normalization", {"axis": -1, "mean": 0.0, "variance": 2.0})


def test_4_huge_shapes(folder: Path) -> None:
    model = sequential(folder / "wide.keras", [1, 1, 2_000_000_000], NORMALIZATION)
    refused_in_memory(model, USUAL, "InputLayer_0", "2000000000")
    model = sequential(folder / "padded.keras", [8, 8, 300], ("ZeroPadding2D", {"padding": [[9000, 9000]] * 2}))
    refused_in_memory(model, USUAL, "ZeroPadding2D_1", "18008")
    model = sequential(folder / "far.keras", [8, 8, 3], ("ZeroPadding2D", {"padding": [[1 << 40, 0], [0, 0]]}))
    refused_in_memory(model, USUAL, "ZeroPadding2D_1", "padding")
    gates = [("Activation", {"activation": "hard_sigmoid"}), NORMALIZATION] * 8
    refused_in_memory(sequential(folder / "m.keras", [1, 1, 1 << 27], *gates), USUAL, "weights", "bytes")


def test_4_huge_input_size(folder: Path) -> None:
    archived(folder / "m.keras", demo_members())
    outcome, peak = edgex_measured("export", "m.keras", "--target", "cpu", "--input-size", 1_000_000, cwd=folder)
    refused(outcome, ExitCode.USAGE, "m.keras", "1000000×1000000", "--input-size")
    assert peak < USUAL


def test_4_shared_layer_called_again_and_again(folder: Path) -> None:
    """16 MiB of weights in the file, and 16 GiB where each call has them for itself."""

    def call(read: str, number: int) -> dict[str, Any]:
        tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": [read, number, 0]}}
        return {"args": [tensor], "kwargs": {}}

    calls = [call("image", 0), *(call("dense", number) for number in range(1000))]
    layers = [
        {"class_name": "InputLayer", "config": {"name": "image", "batch_shape": [None, 2048]}, "inbound_nodes": []},
        {
            "class_name": "Dense",
            "config": {"name": "dense", "units": 2048, "use_bias": False},
            "inbound_nodes": calls,
        },
    ]
    ends = {"input_layers": ["image", 0, 0], "output_layers": ["dense", 1000, 0]}
    config = {"class_name": "Functional", "config": {"name": "model", "layers": layers, **ends}}
    weights = BytesIO()
    with h5py.File(weights, "w") as file:
        file["layers/dense/vars/0"] = np.ones((2048, 2048), np.float32)
    members = {CONFIG: json.dumps(config).encode(), "metadata.json": b'{"keras_version": "3.4.1"}'}
    model = archived(folder / "m.keras", members | {WEIGHTS: weights.getvalue()})
    refused_in_memory(model, USUAL, "dense", "weights", "bytes")


# HDF5


def filtered(file: Any) -> None:
    """A chunk of 1 GiB behind a filter, in a dataset of the right shape."""
    shape = file[KERNEL].shape
    del file[KERNEL]
    data = file.create_dataset(KERNEL, shape, "f4", chunks=shape, compression="gzip")
    data.id.write_direct_chunk((0,) * len(shape), framed(deflated(1024), 1024))


def unwritten(file: Any) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, (1 << 14, 1 << 14), "f4")


def external_link(file: Any) -> None:
    del file[KERNEL]
    file[KERNEL] = h5py.ExternalLink("/etc/passwd", "/")


def external_data(file: Any) -> None:
    shape = file[KERNEL].shape
    del file[KERNEL]
    file.create_dataset(KERNEL, shape, "f4", external=[("/etc/passwd", 0, 4 * math.prod(shape))])


def virtual(file: Any) -> None:
    shape = file[KERNEL].shape
    del file[KERNEL]
    layout = h5py.VirtualLayout(shape, "f4")
    layout[...] = h5py.VirtualSource("other.h5", "data", shape)
    file.create_virtual_dataset(KERNEL, layout)


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        (filtered, ("conv2d/vars/0", "filters deflate")),
        (unwritten, ("conv2d/vars/0", "bomb")),
        (external_link, ("conv2d/vars/0", "link")),
        (external_data, ("conv2d/vars/0", "another file")),
        (virtual, ("conv2d/vars/0", "another file")),
    ],
)
def test_4_hdf5(folder: Path, attack: Any, words: tuple[str, ...]) -> None:
    model = demo_with(folder / "m.keras", weights=attack)
    refused_in_memory(model, USUAL, *words)
    refused_cleanly(model, *words)


def test_4_hdf5_that_points_beyond_its_end(folder: Path) -> None:
    members = demo_members()
    weights = members[WEIGHTS]
    with h5py.File(BytesIO(weights)) as file:
        start, size = file[KERNEL].id.get_offset(), file[KERNEL].nbytes
    place = struct.pack("<QQ", start, size)
    assert weights.count(place) == 1
    for wrong in ((1 << 40, size), (2**64 - 8, size), (len(weights) - 8, size), (start, 8)):
        spoilt = weights.replace(place, struct.pack("<QQ", *wrong))
        refused_in_memory(archived(folder / "m.keras", members | {WEIGHTS: spoilt}), USUAL)


def test_4_names_that_no_format_takes(folder: Path) -> None:
    for name in ({"a": 1}, "\ud800", "a\nb", "x" * 100_000, 7):
        model = demo_with(folder / "m.keras", lambda d, name=name: layer(d, "block1_conv1").update(name=name))
        outcome = edgex("inspect", model.name, cwd=folder)
        message = refused(outcome, REFUSED, model.name, "is no name")
        assert len(message) < 4000


def test_4_a_pipe_in_place_of_a_file(folder: Path) -> None:
    os.mkfifo(folder / "m.keras")
    refused_cleanly(folder / "m.keras", "not a regular file")
