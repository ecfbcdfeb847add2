"""The order and balance that datasets promise: batches, samples, hashes."""

import threading
import time

import numpy as np
import pytest
from image_files import SMALL, fill, folder_and_zip, jpeg, zipped

from edgex.dataset import Dataset, check_disjoint, open_dataset
from edgex.errors import UsageError

# Batches


@folder_and_zip
def test_batches_are_the_preprocessed_images_in_order(stored, tmp_path):
    dataset = open_dataset(stored(fill(tmp_path / "d", *(f"c/{i:02d}.jpg" for i in range(11)))), role="calibration")
    expected = np.stack([SMALL.apply(dataset[index]) for index in range(11)])
    for batch, workers in [(1, 1), (4, 3), (11, 2), (20, 2)]:
        drawn = list(dataset.batches(SMALL, batch, workers))
        assert [len(indices) for indices, _ in drawn[:-1]] == [batch] * (len(drawn) - 1)
        np.testing.assert_array_equal(np.concatenate([indices for indices, _ in drawn]), np.arange(11))
        np.testing.assert_array_equal(np.concatenate([images for _, images in drawn]), expected)


def test_decoding_runs_ahead_but_not_far(tmp_path):
    dataset = open_dataset(fill(tmp_path, *(f"c/{i:02d}.jpg" for i in range(60))), role="calibration")
    reads: list[str] = []

    class Counting:
        path = dataset.source.path

        def image(self, name):
            reads.append(name)
            return dataset.source.image(name)

    counted = Dataset(Counting(), dataset.items)
    batches = counted.batches(SMALL, batch=2, workers=2)
    next(batches)
    deadline = time.monotonic() + 5
    while len(reads) < 8 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert 8 <= len(reads) <= 10
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("edgex")]


def test_a_zip_is_read_by_many_threads(tmp_path):
    folder = fill(tmp_path / "d", *(f"c/{i:03d}.jpg" for i in range(300)))
    dataset = open_dataset(zipped(folder), role="calibration")
    same = open_dataset(folder, role="calibration")
    for (_, one), (_, other) in zip(dataset.batches(SMALL, workers=16), same.batches(SMALL), strict=True):
        np.testing.assert_array_equal(one, other)


# Samples and hashes


def test_every_head_of_a_sample_is_balanced(tmp_path):
    names = [f"a/{i:02d}.jpg" for i in range(50)] + [f"b/{i}.jpg" for i in range(7)] + ["c/0.jpg"]
    dataset = open_dataset(fill(tmp_path, *names), role="calibration")
    sample = dataset.sample(20, seed=3)
    assert np.bincount(sample.labels).tolist() == [12, 7, 1]
    assert np.bincount(sample.labels[:3]).tolist() == [1, 1, 1]
    assert np.bincount(sample.labels[:9]).tolist() == [4, 4, 1]
    assert sample.class_names == dataset.class_names
    assert sample == dataset.sample(20, seed=3)
    assert sample.names != dataset.sample(20, seed=4).names
    assert dataset.sample(None).names == dataset.sample(1000).names
    assert sorted(dataset.sample(None).names) == sorted(dataset.names)


def test_sample_without_labels(tmp_path):
    dataset = open_dataset(fill(tmp_path, *(f"{i:02d}.jpg" for i in range(30))), role="calibration")
    chosen = dataset.sample(10).names
    assert len(chosen) == 10
    assert chosen != dataset.names[:10]


def test_sample_is_the_same_everywhere():
    sample = open_dataset("digits", role="evaluation").sample(5, seed=1)
    assert sample.names == ("0344", "0945", "1567", "0405", "1218")


def test_fingerprint_is_of_names_contents_and_labels(tmp_path):
    folder = fill(tmp_path / "d", "cat/1.jpg", "cat/2.jpg", "dog/3.jpg")

    def fingerprint() -> str:
        return open_dataset(folder, role="calibration").fingerprint

    first = fingerprint()
    assert first == fingerprint() == open_dataset(zipped(folder), role="calibration").fingerprint
    (folder / "notes.txt").write_text("no image")
    assert fingerprint() == first
    seen = {first}
    (folder / "cat/1.jpg").rename(folder / "cat/0.jpg")
    seen.add(fingerprint())
    (folder / "cat/0.jpg").write_bytes(jpeg(9))
    seen.add(fingerprint())
    (folder / "bat").mkdir()  # moves the index of the others
    seen.add(fingerprint())
    (folder / "dog/3.jpg").unlink()
    seen.add(fingerprint())
    assert len(seen) == 5


def test_shared_images_are_found_whatever_they_are_called(tmp_path):
    one = fill(tmp_path / "one", "a/1.jpg", "b/2.jpg", "b/3.jpg")
    other = tmp_path / "other"
    for kind, content in (("x", jpeg(1)), ("y", jpeg(7))):
        (other / kind).mkdir(parents=True)
        (other / kind / "renamed.jpg").write_bytes(content)
    calibration = open_dataset(one, role="calibration")
    evaluation = open_dataset(zipped(other), role="evaluation")
    with pytest.raises(UsageError, match=r"^1 of 2 images .*: x/renamed\.jpg"):
        check_disjoint(calibration.content_hashes, evaluation)
    (one / "b/2.jpg").unlink()
    check_disjoint(open_dataset(one, role="calibration").content_hashes, evaluation)


def test_real_images(shared):
    calibration = open_dataset(shared / "data/cifar10-calib.zip", role="calibration")
    evaluation = open_dataset(shared / "data/cifar10-val.zip", role="evaluation")
    assert (len(calibration), len(evaluation)) == (300, 4000)
    assert evaluation.class_names[0] == "airplane"
    assert np.bincount(calibration.sample(100).labels).tolist() == [10] * 10
    start = time.perf_counter()
    check_disjoint(calibration.content_hashes, evaluation)
    assert time.perf_counter() - start < 2
