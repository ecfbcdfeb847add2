"""Datasets in every form, the faults they survive, and the order and balance they promise."""

import hashlib
import io
import os
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgex.dataset import Dataset, check_disjoint, open_dataset
from edgex.errors import DataError, UsageError
from edgex.preprocess import Preprocessing

SMALL = Preprocessing((4, 4), scale="none")


def jpeg(seed: int, side: int = 8) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


def fill(folder: Path, *names: str) -> Path:
    """A folder with an image of its own under each name."""
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(seed))
    return folder


def zipped(folder: Path, archive: Path) -> Path:
    """A zip of everything below a folder, empty folders included."""
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder).as_posix())
    return archive


@pytest.fixture(params=["folder", "zip"])
def stored(request, tmp_path):
    """Hands back the folder itself, or a zip of it: what follows must be the same for both."""
    return lambda folder: folder if request.param == "folder" else zipped(folder, tmp_path / "images.zip")


# Forms


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


def test_one_folder_around_the_classes_does_not_count(stored, tmp_path):
    dataset = open_dataset(stored(fill(tmp_path / "d", "set/cat/1.jpg", "set/dog/1.jpg")), role="evaluation")
    assert dataset.class_names == ("cat", "dog")
    assert dataset.names == ("set/cat/1.jpg", "set/dog/1.jpg")


def test_folders_inside_classes(stored, tmp_path):
    dataset = open_dataset(stored(fill(tmp_path / "d", "cat/1.jpg", "dog/big/1.jpg", "dog/2.jpg")), role="evaluation")
    assert dataset.class_names == ("cat", "dog")
    assert dataset.labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize("role", ["calibration", "training"])
def test_flat_folder_where_no_labels_are_needed(stored, tmp_path, role):
    dataset = open_dataset(stored(fill(tmp_path / "d", "b.jpg", "a.jpg")), role=role)
    assert dataset.names == ("a.jpg", "b.jpg")
    assert dataset.labels is None
    assert dataset.class_names == ()


def test_flat_folder_is_refused_where_labels_are_needed(stored, tmp_path):
    with pytest.raises(DataError, match="2 images without labels") as refusal:
        open_dataset(stored(fill(tmp_path / "d", "b.jpg", "a.jpg")), role="evaluation")
    assert "--labels" in refusal.value.fix


def test_images_beside_the_class_folders_have_no_label(tmp_path):
    with pytest.raises(DataError, match="without labels"):
        open_dataset(fill(tmp_path, "cat/1.jpg", "dog/1.jpg", "stray.jpg"), role="evaluation")


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


# Faults


def test_no_images(stored, tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "notes.txt").write_text("none yet")
    path = stored(folder)
    with pytest.raises(UsageError, match="no images"):
        open_dataset(path, role="calibration")
    with pytest.raises(DataError, match="no images"):
        open_dataset(path, role="evaluation")


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


@pytest.mark.parametrize("name", ["../evil.jpg", "/etc/evil.jpg", "cat/../../evil.jpg"])
def test_zip_member_that_leads_out(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("cat/1.jpg", jpeg(0))
        file.writestr(name, jpeg(1))
    with pytest.raises(DataError, match="leads out"):
        open_dataset(tmp_path / "a.zip", role="evaluation")


def test_zip_bomb(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file,
        file.open("cat/1.jpg", "w") as member,
    ):
        for _ in range(257):
            member.write(bytes(2**20))
    with pytest.raises(DataError, match=r"'cat/1\.jpg' of 269,484,032 bytes"):
        open_dataset(tmp_path / "a.zip", role="evaluation")


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
    path = zipped(fill(tmp_path / "d", "cat/1.jpg", "dog/1.jpg"), tmp_path / "a.zip")
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


# Batches


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
    dataset = open_dataset(zipped(folder, tmp_path / "a.zip"), role="calibration")
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
    assert first == fingerprint() == open_dataset(zipped(folder, tmp_path / "a.zip"), role="calibration").fingerprint
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
    evaluation = open_dataset(zipped(other, tmp_path / "other.zip"), role="evaluation")
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
