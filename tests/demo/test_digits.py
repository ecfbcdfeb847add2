"""The digits that ship are scikit-learn's, and the calibration images are made of them."""

import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from edgex.dataset import open_dataset
from edgex.demo.digits import load_from_sklearn, write_calibration_images
from edgex.resources import calib_data_dir, digits_file


@pytest.fixture
def digits():
    with np.load(digits_file()) as arrays:
        return dict(arrays)


def test_shipped_digits_are_those_of_sklearn(digits):
    datasets = pytest.importorskip("sklearn.datasets")
    source = datasets.load_digits()
    np.testing.assert_array_equal(np.rint(digits["x"][..., 0] * (16 / 255)), source.images)
    np.testing.assert_array_equal(digits["y"], source.target)
    for name, array in load_from_sklearn()._asdict().items():
        np.testing.assert_array_equal(digits[name], array)


def test_splits_have_every_class_in_proportion(digits):
    for name, size in (("train", 1197), ("calibration", 100), ("test", 500)):
        counts = np.bincount(digits["y"][digits["split"] == name], minlength=10)
        assert counts.sum() == size
        assert np.abs(counts - size * np.bincount(digits["y"]) / 1797).max() <= 1


def test_calibration_images_are_written_again_to_the_byte(tmp_path):
    write_calibration_images(digits_file(), tmp_path)
    shipped = {path.relative_to(calib_data_dir()) for path in calib_data_dir().rglob("*") if path.is_file()}
    written = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.as_posix() for path in shipped - written} == {"README.md"}
    for name in written:
        assert (tmp_path / name).read_bytes() == (calib_data_dir() / name).read_bytes(), name


def test_calibration_images_are_the_calibration_split(digits):
    folder = open_dataset(calib_data_dir(), role="calibration")
    split = open_dataset("digits", role="calibration")
    assert len(folder) == 100
    assert folder.class_names == split.class_names
    for name, label in zip(folder.names, folder.labels, strict=True):
        index = int(name[2:6])
        assert digits["split"][index] == "calibration"
        assert digits["y"][index] == label
        np.testing.assert_array_equal(np.asarray(Image.open(calib_data_dir() / name)), digits["x"][index, :, :, 0])


def test_manifest_holds_the_hash_of_every_image():
    manifest = json.loads((calib_data_dir() / "manifest.json").read_text())
    images = {path.relative_to(calib_data_dir()).as_posix(): path for path in calib_data_dir().glob("*/*.png")}
    assert manifest["sha256"] == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in images.items()}
