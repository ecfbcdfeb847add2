"""Datasets in every form, and what is said of those that are none."""

import hashlib

import numpy as np
import pytest
from image_files import fill, folder_and_zip
from PIL import Image

from edgex.dataset import check_disjoint, open_dataset
from edgex.dataset import opening as module
from edgex.errors import DataError, UsageError


@folder_and_zip
def test_class_folders(stored, tmp_path):
    folder = fill(tmp_path / "d", "dog/2.jpg", "cat/b.jpg", "dog/1.png", "cat/a.jpg")
    dataset = open_dataset(stored(folder), role="evaluation")
    assert dataset.names == ("cat/a.jpg", "cat/b.jpg", "dog/1.png", "dog/2.jpg")
    assert dataset.class_names == ("cat", "dog")
    assert dataset.labels.tolist() == [0, 0, 1, 1]
    assert len(dataset) == 4
    assert dataset.ignored == 0
    assert dataset.warnings == ()
    np.testing.assert_array_equal(dataset[3], np.asarray(Image.open(folder / "dog/2.jpg")))


@folder_and_zip
def test_one_folder_around_the_classes_does_not_count(stored, tmp_path):
    dataset = open_dataset(stored(fill(tmp_path / "d", "set/cat/1.jpg", "set/dog/1.jpg")), role="evaluation")
    assert dataset.class_names == ("cat", "dog")
    assert dataset.names == ("set/cat/1.jpg", "set/dog/1.jpg")


@folder_and_zip
def test_folders_inside_classes(stored, tmp_path):
    dataset = open_dataset(stored(fill(tmp_path / "d", "cat/1.jpg", "dog/big/1.jpg", "dog/2.jpg")), role="evaluation")
    assert dataset.class_names == ("cat", "dog")
    assert dataset.labels.tolist() == [0, 1, 1]


@folder_and_zip
@pytest.mark.parametrize("role", ["calibration", "training"])
def test_flat_folder_where_no_labels_are_needed(stored, tmp_path, role):
    dataset = open_dataset(stored(fill(tmp_path / "d", "b.jpg", "a.jpg")), role=role)
    assert dataset.names == ("a.jpg", "b.jpg")
    assert dataset.labels is None
    assert dataset.class_names == ()


@folder_and_zip
def test_flat_folder_is_refused_where_labels_are_needed(stored, tmp_path):
    with pytest.raises(DataError, match="2 images without labels") as refusal:
        open_dataset(stored(fill(tmp_path / "d", "b.jpg", "a.jpg")), role="evaluation")
    assert "--labels" in refusal.value.fix


def test_images_beside_the_class_folders_have_no_label(tmp_path):
    with pytest.raises(DataError, match="without labels"):
        open_dataset(fill(tmp_path, "cat/1.jpg", "dog/1.jpg", "stray.jpg"), role="evaluation")


@folder_and_zip
def test_labels_file_for_a_flat_folder(stored, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("path,label\nb.jpg,dog\na.jpg,cat\n")
    dataset = open_dataset(stored(fill(tmp_path / "d", "a.jpg", "b.jpg", "c.jpg")), role="evaluation", labels=table)
    assert dataset.names == ("a.jpg", "b.jpg")
    assert dataset.labels.tolist() == [0, 1]
    assert dataset.class_names == ("cat", "dog")


def test_csv_with_class_names(tmp_path):
    fill(tmp_path / "images", "new\nline.jpg", "2.jpg")
    table = tmp_path / "list.csv"
    table.write_bytes(b'\xef\xbb\xbflabel,path\r\nzebra,images/2.jpg\r\nape,"images/new\nline.jpg"\r\n')
    dataset = open_dataset(table, role="evaluation")
    assert dataset.names == ("images/2.jpg", "images/new\nline.jpg")
    assert dataset.class_names == ("ape", "zebra")
    assert dataset.labels.tolist() == [1, 0]


def test_csv_with_class_indices(tmp_path):
    fill(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    table = tmp_path / "list.csv"
    table.write_text("path,label\n1.jpg,10\n2.jpg,9\n3.jpg,2\n")
    dataset = open_dataset(table, role="evaluation")
    assert dataset.labels.tolist() == [10, 9, 2]
    assert dataset.class_names == tuple(map(str, range(11)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\n1.jpg,a\n", "no column 'path'"),
        ("path,label\n1.jpg,a\nno.jpg,b\n", r"1 images .* are not in .*: no\.jpg"),
        ("label,path\na\n", "are not in"),
        ("path,label\n1.jpg,a\n1.jpg,b\n", r"more than once: 1\.jpg"),
        ("path,label\n1.jpg,a\n2.jpg,\n", "1 images without a label"),
        ("path,label\n1.jpg,1\n2.jpg,123456789\n", "label 123456789"),
        pytest.param("path,label\n1.jpg," + "1" * 5000, "a label of too many digits", id="5000 digits"),
        pytest.param("path,label\n" + "x" * 300 + ",a\n", "1 images .* are not in", id="a name too long"),
        ("path,label\n1.jpg\0,a\n", "1 images .* are not in"),
        ("path,label\n../1.jpg,a\n", r"outside of .*: \.\./1\.jpg"),
        ("path,label\n/etc/hostname,a\n", "outside of .*: /etc/hostname"),
        ("path,label\n1.jpg/../../1.jpg,a\n", "outside of"),
        ("path\n1.jpg\n", "1 images without labels"),
        ("path,label\n", "no images"),
        ("", "no images"),
    ],
)
def test_csv_refused(tmp_path, text, message):
    fill(tmp_path, "1.jpg", "2.jpg")
    table = tmp_path / "list.csv"
    table.write_text(text)
    with pytest.raises(DataError, match=message):
        open_dataset(table, role="evaluation")


def test_csv_that_is_not_text(tmp_path):
    table = tmp_path / "list.csv"
    table.write_bytes(b"path\xff\xfe")
    with pytest.raises(DataError, match="cannot be read"):
        open_dataset(table, role="evaluation")


def test_npz(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (12, 4, 4, 1), np.uint8)
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(12) % 3)
    dataset = open_dataset(tmp_path / "a.npz", role="evaluation")
    assert dataset.names[:2] == ("00", "01")
    assert dataset.labels.tolist() == [0, 1, 2] * 4
    assert dataset.class_names == ("0", "1", "2")
    np.testing.assert_array_equal(dataset[5], x[5])
    assert dataset.content_hashes[5] == hashlib.sha256(x[5].tobytes()).hexdigest()


def test_npz_without_labels_calibrates(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 4, 4, 3), np.uint8))
    assert open_dataset(tmp_path / "a.npz", role="calibration").labels is None
    with pytest.raises(DataError, match="without labels"):
        open_dataset(tmp_path / "a.npz", role="evaluation")


IMAGES = np.zeros((2, 4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": IMAGES}, "no array 'x'"),
        ({"x": IMAGES.astype(np.float32)}, "x is float32"),
        ({"x": IMAGES[..., :2]}, "x is uint8"),
        ({"x": IMAGES[0]}, "x is uint8"),
        ({"x": IMAGES[:, :0]}, "x is uint8"),
        ({"x": IMAGES, "y": [1, 2, 3]}, "x has 2 images"),
        ({"x": IMAGES, "y": [0.0, 1.0]}, "y is float64"),
        ({"x": IMAGES, "y": [0, -1]}, "label -1"),
        ({"x": IMAGES, "y": [0, 100_000]}, "label 100000"),
        ({"x": np.array([{}], object)}, "cannot be read"),
        ({"x": IMAGES[:0], "y": np.zeros(0, int)}, "no images"),
    ],
)
def test_npz_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path / "a.npz", role="evaluation")


def test_npz_reads_no_more_than_images_and_labels(tmp_path):
    np.savez(tmp_path / "a.npz", x=IMAGES, y=[0, 1], notes=np.array([{}], object))
    assert len(open_dataset(tmp_path / "a.npz", role="evaluation")) == 2


def test_npz_that_unpacks_into_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 2**20)
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((6, 256, 256, 3), np.uint8))
    with pytest.raises(DataError, match="more than 1 MiB") as refusal:
        open_dataset(tmp_path / "a.npz", role="calibration")
    assert "folder or zip" in refusal.value.fix


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more"])
@pytest.mark.parametrize("suffix", [".npz", ".zip"])
def test_damaged_archives(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=str(path)):
        open_dataset(path, role="evaluation")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"1\.jpg is not a dataset"):
        open_dataset(fill(tmp_path, "1.jpg") / "1.jpg", role="calibration")
    with pytest.raises(UsageError, match="does not exist"):
        open_dataset(tmp_path / "nowhere", role="evaluation")
    np.savez(tmp_path / "a.npz", x=IMAGES, y=[0, 1])
    with pytest.raises(UsageError, match="its own labels"):
        open_dataset(tmp_path / "a.npz", role="evaluation", labels=tmp_path / "labels.csv")


def test_digits():
    parts = {role: open_dataset("digits", role=role) for role in ("training", "calibration", "evaluation")}
    assert {role: len(part) for role, part in parts.items()} == {
        "training": 1197,
        "calibration": 100,
        "evaluation": 500,
    }
    hashes = {content for part in parts.values() for content in part.content_hashes}
    assert len(hashes) == 1797
    assert all(part.class_names == tuple("0123456789") for part in parts.values())
    check_disjoint(parts["calibration"].content_hashes, parts["evaluation"])


def test_a_folder_called_digits_can_be_named(tmp_path, monkeypatch):
    fill(tmp_path / "digits", "cat/1.jpg", "dog/1.jpg")
    monkeypatch.chdir(tmp_path)
    assert len(open_dataset("./digits", role="evaluation")) == 2
    assert len(open_dataset("digits", role="evaluation")) == 500
