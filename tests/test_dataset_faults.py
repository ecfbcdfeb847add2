"""Datasets with faults: each is found, named, and never more than it seems."""

import os
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from image_files import SMALL, fill, folder_and_zip, jpeg, zipped
from PIL import Image

from edgex import sources
from edgex.dataset import open_dataset
from edgex.errors import DataError, UsageError


@folder_and_zip
def test_no_images(stored, tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "notes.txt").write_text("none yet")
    path = stored(folder)
    with pytest.raises(UsageError, match="no images"):
        open_dataset(path, role="calibration")
    with pytest.raises(DataError, match="no images"):
        open_dataset(path, role="evaluation")


@folder_and_zip
def test_empty_class_folder_keeps_its_index(stored, tmp_path):
    folder = fill(tmp_path / "d", "ape/1.jpg", "cow/1.jpg")
    (folder / "bat").mkdir()
    dataset = open_dataset(stored(folder), role="evaluation")
    assert dataset.class_names == ("ape", "bat", "cow")
    assert dataset.labels.tolist() == [0, 2]
    assert len(dataset.warnings) == 1
    assert "'bat'" in dataset.warnings[0]


def test_one_class_only_is_said(tmp_path):
    dataset = open_dataset(fill(tmp_path, "cat/1.jpg", "cat/2.jpg"), role="evaluation")
    assert dataset.class_names == ("cat",)
    assert "one class, 'cat'" in dataset.warnings[0]


@folder_and_zip
def test_hidden_files_and_others_are_counted(stored, tmp_path):
    folder = fill(tmp_path / "d", "cat/1.jpg", "cat/.hidden.jpg", ".git/1.jpg", "__MACOSX/cat/._1.jpg", "dog/1.jpg")
    (folder / "cat/Thumbs.db").write_bytes(b"")
    (folder / "README.md").write_bytes(b"")
    dataset = open_dataset(stored(folder), role="evaluation")
    assert dataset.names == ("cat/1.jpg", "dog/1.jpg")
    assert dataset.class_names == ("cat", "dog")
    assert dataset.ignored == 5


def test_links(tmp_path):
    folder = fill(tmp_path / "d", "cat/1.jpg")
    fill(tmp_path / "elsewhere", "2.jpg")
    (folder / "dog").symlink_to(tmp_path / "elsewhere")
    (folder / "cat/back").symlink_to(folder)
    (folder / "cat/itself.jpg").symlink_to("itself.jpg")
    (folder / "cat/broken.jpg").symlink_to("nowhere.jpg")
    dataset = open_dataset(folder, role="evaluation")
    assert dataset.names == ("cat/1.jpg", "dog/2.jpg")
    assert dataset.ignored == 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_named_pipe_does_not_block(tmp_path):
    os.mkfifo(fill(tmp_path, "cat/1.jpg", "dog/1.jpg") / "cat/pipe.jpg")
    assert open_dataset(tmp_path, role="evaluation").ignored == 1


@folder_and_zip
def test_odd_names(stored, tmp_path):
    names = ("a b/im age.jpg", "a b/new\nline.jpg", "ünï-日本/🐈.jpg", "-x/'\"$(id).jpg")
    dataset = open_dataset(stored(fill(tmp_path / "d", *names)), role="evaluation")
    assert set(dataset.names) == set(names)
    assert sum(len(indices) for indices, _ in dataset.batches(SMALL)) == 4
    assert dataset.fingerprint


def test_name_that_is_not_unicode(tmp_path):
    (tmp_path / "cat").mkdir()
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/cat/\xff.jpg")).write_bytes(jpeg(0))
    except OSError:
        pytest.skip("this file system refuses such names")
    dataset = open_dataset(tmp_path, role="calibration")
    assert dataset.fingerprint
    assert len(dataset[0]) == 8


@pytest.mark.parametrize("name", ["../evil.jpg", "/etc/evil.jpg", "cat/../../evil.jpg", ""])
def test_zip_member_that_lies_elsewhere(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("cat/1.jpg", jpeg(0))
        file.writestr(zipfile.ZipInfo(name), jpeg(1))
    with pytest.raises(DataError, match="lies nowhere in it"):
        open_dataset(tmp_path / "a.zip", role="evaluation")


@pytest.mark.parametrize("name", ["cat/1.jpg", "1.dat"])
def test_zip_bomb(tmp_path, monkeypatch, name):
    monkeypatch.setattr(sources, "MAX_BYTES", 2**24)
    with (
        zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file,
        file.open(name, "w") as member,
    ):
        for _ in range(17):
            member.write(bytes(2**20))
    refused_without_memory(tmp_path / "a.zip", f"{name}: larger than 16,777,216 bytes")


def test_a_member_larger_than_it_says(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("cat/1.jpg", bytes(2**26))
    content = bytearray(path.read_bytes())
    for signature, size in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = content.index(signature) + size
        content[place : place + 4] = (1000).to_bytes(4, "little")
    path.write_bytes(content)
    refused_without_memory(path, "cat/1.jpg: Bad CRC")


def refused_without_memory(path, message):
    """A list names the image, which may have any name then."""
    labels = path.with_suffix(".csv")
    labels.write_text(f"path,label\n{message.partition(':')[0]},cat\n")
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=message):
            list(open_dataset(path, role="evaluation", labels=labels).batches(SMALL))
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_that_unpack_without_bounds(tmp_path, compression):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", compression) as file:
        file.writestr("cat/1.jpg", jpeg(0))
    with pytest.raises(DataError, match=r"cat/1\.jpg: not compressed by deflate"):
        list(open_dataset(tmp_path / "a.zip", role="calibration").batches(SMALL))


@folder_and_zip
def test_folders_inside_each_other_end_somewhere(stored, tmp_path):
    folder = tmp_path / "d"
    deepest = folder.joinpath(*"a" * 100)
    dataset = open_dataset(stored(fill(folder, deepest.relative_to(folder) / "1.jpg")), role="calibration")
    assert len(dataset) == 1
    fill(deepest / "a", "1.jpg")
    with pytest.raises(DataError, match="more than 100 folders"):
        open_dataset(stored(folder), role="calibration")


def test_a_name_of_32000_folders(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a/" * 32_000 + "1.jpg", jpeg(0))
    with pytest.raises(DataError, match="more than 100 folders"):
        open_dataset(tmp_path / "a.zip", role="calibration")


def test_random_damage_to_a_zip(tmp_path):
    """Nothing but DataError, whatever the bytes; of 300 archives most open, and lack an image."""
    content = zipped(fill(tmp_path / "d", "cat/1.jpg", "dog/ü.jpg")).read_bytes()
    random, refused = np.random.default_rng(0), 0
    for number in range(300):
        damaged = bytearray(content)
        tail = number % 2 * (len(content) - 300)  # every second time in the directory
        for place in tail + random.integers(0, len(content) - tail, random.integers(1, 5)):
            damaged[place] ^= 1 << random.integers(0, 8)
        (tmp_path / "a.zip").write_bytes(damaged)
        try:
            list(open_dataset(tmp_path / "a.zip", role="evaluation").batches(SMALL))
        except DataError:
            refused += 1
    assert refused > 100


def test_huge_file(tmp_path):
    with (fill(tmp_path, "cat/1.jpg") / "cat/2.jpg").open("wb") as file:
        file.truncate(2**40)
    dataset = open_dataset(tmp_path, role="calibration", max_bad=1)
    assert [indices.tolist() for indices, _ in dataset.batches(SMALL)] == [[0]]
    assert "larger than" in dataset.log.unreadable["cat/2.jpg"]


def spoiled(folder: Path) -> Path:
    """Six images, of which two are damaged."""
    fill(folder, *(f"{kind}/{index}.jpg" for kind in ("cat", "dog") for index in range(3)))
    (folder / "cat/1.jpg").write_bytes(jpeg(1)[:200])
    (folder / "dog/2.jpg").write_bytes(b"not an image")
    return folder


@folder_and_zip
def test_damaged_images_are_all_named(stored, tmp_path):
    dataset = open_dataset(stored(spoiled(tmp_path / "d")), role="evaluation")
    with pytest.raises(DataError, match=r"^2 of 6 images in .*cat/1\.jpg: .*, dog/2\.jpg: ") as refusal:
        list(dataset.batches(SMALL))
    assert "--max-bad 2" in refusal.value.fix
    with pytest.raises(DataError, match=r"cat/1\.jpg"):
        dataset[1]


def test_nothing_is_drawn_after_the_allowance_is_spent(tmp_path):
    drawn: list[int] = []
    with pytest.raises(DataError):
        drawn.extend(index for (index,), _ in open_dataset(spoiled(tmp_path), role="evaluation").batches(SMALL))
    assert drawn == [0]


@folder_and_zip
def test_damaged_images_within_the_allowance_are_passed_over(stored, tmp_path):
    path = stored(spoiled(tmp_path / "d"))
    dataset = open_dataset(path, role="evaluation", max_bad=2)
    drawn = list(dataset.batches(SMALL, batch=3))
    assert [indices.tolist() for indices, _ in drawn] == [[0, 2, 3], [4]]
    assert [images.shape for _, images in drawn] == [(3, 4, 4, 3), (1, 4, 4, 3)]
    assert set(dataset.log.unreadable) == {"cat/1.jpg", "dog/2.jpg"}
    with pytest.raises(DataError, match="2 of 6"):
        list(open_dataset(path, role="evaluation", max_bad=1).batches(SMALL, batch=3))


def test_zip_member_with_a_wrong_checksum_is_a_damaged_image(tmp_path):
    path = zipped(fill(tmp_path / "d", "cat/1.jpg", "dog/1.jpg"))
    path.write_bytes(path.read_bytes().replace(jpeg(0), jpeg(0)[:-2] + b"\0\0"))
    with pytest.raises(DataError, match=r"1 of 2 images .*cat/1\.jpg: .*CRC"):
        list(open_dataset(path, role="evaluation").batches(SMALL))


def test_exif_rotation_is_recorded(tmp_path):
    fill(tmp_path, "cat/1.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 2)).save(tmp_path / "cat/2.jpg", exif=exif)
    dataset = open_dataset(tmp_path, role="calibration")
    list(dataset.batches(SMALL))
    assert dataset.log.reoriented == {"cat/2.jpg"}
