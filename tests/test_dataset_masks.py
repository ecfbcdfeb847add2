"""Masks label each pixel: found beside their images, in the same geometry, and refused where they would mislead."""

import hashlib
import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from image_files import SMALL, folder_and_zip, jpeg
from PIL import Image
from shapes import CLASSES, VOID, shapes

from edgex.dataset import check_disjoint, open_dataset
from edgex.dataset import opening as module
from edgex.errors import DataError, UsageError
from edgex.images import decode_mask
from edgex.preprocess import Preprocessing

MADE = shapes(6, 16, void=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return MADE.write_folder(tmp_path / "d")


def png(pixels: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", **options)
    return stream.getvalue()


@folder_and_zip
def test_images_and_masks(stored, folder):
    dataset = open_dataset(stored(folder), role="evaluation")
    assert dataset.segmented
    assert dataset.class_names == CLASSES
    assert dataset.labels is None
    assert dataset.ignored == 1, "classes.txt"
    order = [0, 2, 4, 1, 3, 5]
    assert dataset.names == tuple(f"images/{'odd' if n % 2 else 'even'}/{n:04}.png" for n in order)
    for index, number in enumerate(order):
        np.testing.assert_array_equal(dataset[index], MADE.images[number])
        np.testing.assert_array_equal(dataset.mask(index), MADE.masks[number])
        np.testing.assert_array_equal(dataset.mask(index, (16, 16)), MADE.masks[number])


@folder_and_zip
def test_one_folder_around_both(stored, tmp_path):
    MADE.write_folder(tmp_path / "d" / "set")
    dataset = open_dataset(stored(tmp_path / "d"), role="evaluation")
    assert dataset.class_names == CLASSES
    np.testing.assert_array_equal(dataset.mask(1), MADE.masks[2])


def test_an_npz(tmp_path):
    dataset = open_dataset(MADE.write_npz(tmp_path / "a.npz"), role="training")
    assert dataset.segmented
    assert dataset.class_names == tuple(map(str, range(5)))
    np.testing.assert_array_equal(dataset.mask(3), MADE.masks[3])
    calibration = open_dataset(tmp_path / "a.npz", role="calibration")
    assert not calibration.segmented
    assert calibration.content_hashes == dataset.content_hashes


def test_masks_of_another_shape_are_no_masks(tmp_path):
    np.savez(tmp_path / "a.npz", x=MADE.images, y=MADE.masks[:, :8])
    with pytest.raises(DataError, match=r"y is uint8 \(6, 8, 16\)"):
        open_dataset(tmp_path / "a.npz", role="evaluation")
    np.savez(tmp_path / "a.npz", x=MADE.images, y=MADE.masks.astype(np.float32))
    with pytest.raises(DataError, match="y is float32"):
        open_dataset(tmp_path / "a.npz", role="evaluation")


# Geometry


@pytest.mark.parametrize("size", [(64, 64), (96, 128), (32, 32), (21, 43)])
def test_masks_are_stretched_as_images_are(tmp_path, size):
    """Images that show their own masks still show them when both are stretched."""
    masks = (shapes(4, 64).masks != 0).astype(np.uint8)
    np.savez(tmp_path / "a.npz", x=200 * masks[..., np.newaxis], y=masks)
    dataset = open_dataset(tmp_path / "a.npz", role="evaluation")
    height, width = size
    rows, columns = ([int(Fraction(2 * place + 1, 2 * side) * 64) for place in range(side)] for side in (height, width))
    np.testing.assert_array_equal(dataset.mask(2, size), masks[2][rows][:, columns])
    (_, images, found), *_ = dataset.masked_batches(Preprocessing(size, 1, scale="none"), size, batch=4)
    shown = images[..., 0] > 100
    alike, moved = (shown == found).mean(), (shown[:, 1:, 1:] == found[:, :-1, :-1]).mean()
    assert alike > 0.97
    assert 1 - moved > 2 * (1 - alike)


def test_a_void_pixel_and_no_other_stays_void(folder):
    dataset = open_dataset(folder, role="evaluation")
    assert set(np.unique(dataset.mask(0, (7, 7)))) <= set(range(5)) | {VOID}
    assert (dataset.mask(0) == VOID).any()


def test_batches_with_masks(folder):
    dataset = open_dataset(folder, role="evaluation")
    batches = list(dataset.masked_batches(SMALL, (8, 8), batch=4))
    assert [len(batch.indices) for batch in batches] == [4, 2]
    masks = np.concatenate([batch.masks for batch in batches])
    np.testing.assert_array_equal(masks, [dataset.mask(index, (8, 8)) for index in range(6)])
    images = np.concatenate([batch.images for batch in batches])
    np.testing.assert_array_equal(images, np.concatenate([images for _, images in dataset.batches(SMALL, 4)]))


@pytest.mark.parametrize("resize", ["crop", "pad"])
def test_masks_fit_stretched_images_only(folder, resize):
    dataset = open_dataset(folder, role="evaluation")
    with pytest.raises(UsageError, match=resize) as refusal:
        next(dataset.masked_batches(Preprocessing((8, 8), resize=resize), (8, 8)))
    assert refusal.value.fix == "Quantize, or evaluate, with --resize stretch.", "validate has no such option"


def test_photographs_that_are_turned(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((8, 12, 3), np.uint8)).save(tmp_path / "images/a.jpg", exif=exif)
    Image.fromarray(np.zeros((12, 8), np.uint8)).save(tmp_path / "masks/a.png")
    dataset = open_dataset(tmp_path, role="evaluation")
    assert dataset.mask(0).shape == dataset[0].shape[:2] == (12, 8)


# Classes


@folder_and_zip
def test_classes_without_names_are_counted(stored, tmp_path):
    folder = MADE.write_folder(tmp_path / "d", classes=False)
    dataset = open_dataset(stored(folder), role="evaluation")
    assert dataset.class_names == tuple(map(str, range(int(MADE.masks[MADE.masks < VOID].max()) + 1)))
    assert dataset.counted


def test_masks_are_not_decoded_where_classes_have_names(folder, monkeypatch):
    monkeypatch.setattr(module, "highest_index", lambda _: pytest.fail("it looked"))
    (folder / "masks/odd/0001.png").write_bytes(b"no image")
    dataset = open_dataset(folder, role="evaluation")
    assert len(dataset) == 6
    assert not dataset.counted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "names no class"),
        (b"\n\n", "names no class"),
        (b"a\n\nb\n", "by nothing"),
        (b"a\nb\na\n", "names classes twice: a"),
        (b"\xff\xfe", "cannot be read"),
        ("\n".join(map(str, range(256))).encode(), "names 256 classes"),
        (b"a\n" * 600_000, "too long"),
    ],
)
def test_class_lists_refused(folder, text, message):
    (folder / "classes.txt").write_bytes(text)
    with pytest.raises(DataError, match=message):
        open_dataset(folder, role="evaluation")


def test_an_index_beyond_the_classes(folder):
    (folder / "classes.txt").write_text("ground\ndisc\n")
    dataset = open_dataset(folder, role="evaluation")
    with pytest.raises(DataError, match=r"masks/even/0000.png: it has the index \d, and there are 2 classes"):
        dataset.mask(0)
    with pytest.raises(DataError, match=r"images in .* cannot be read: masks/.*there are 2 classes"):
        list(dataset.masked_batches(SMALL, (8, 8)))


# Faults


@folder_and_zip
def test_missing_and_extra_masks(stored, folder):
    (folder / "masks/odd/0001.png").rename(folder / "masks/odd/0009.png")
    path = stored(folder)
    with pytest.raises(DataError, match=r"1 images .* have no mask: images/odd/0001.png"):
        open_dataset(path, role="evaluation")
    assert len(open_dataset(path, role="calibration")) == 6
    (folder / "images/odd/0001.png").unlink()
    with pytest.raises(DataError, match=r"1 masks .* have no image: masks/odd/0009.png"):
        open_dataset(stored(folder), role="training")


def test_masks_that_no_one_can_tell_apart(folder):
    (folder / "images/odd/0001.jpg").write_bytes(jpeg(0, 16))
    with pytest.raises(DataError, match=r"several files of one name: odd/0001"):
        open_dataset(folder, role="evaluation")


def test_masks_that_are_no_png(folder):
    (folder / "masks/odd/0001.png").rename(folder / "masks/odd/0001.jpg")
    with pytest.raises(DataError, match=r"no PNG files: masks/odd/0001.jpg"):
        open_dataset(folder, role="evaluation")


GRAY = MADE.masks[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG no more", "not a PNG image"),
        (png(GRAY)[:-40], "0001.png"),
        (png(np.stack([GRAY] * 3, -1)), "a colour image.*palette or in gray"),
        (png(np.stack([GRAY, GRAY], -1)), "gray with transparency"),
        (png(GRAY[:-1]), "16x15 pixels, and its image 16x16"),
        (png(GRAY.astype(np.uint16) + 300), "the index 5.., which no mask can have"),
        (png(np.full_like(GRAY, 5)), "the index 5, and there are 5 classes"),
    ],
)
def test_masks_refused(folder, content, message):
    (folder / "masks/odd/0001.png").write_bytes(content)
    dataset = open_dataset(folder, role="evaluation", max_bad=1)
    (index,) = [index for index, name in enumerate(dataset.names) if "0001" in name]
    with pytest.raises(DataError, match=f"masks/odd/0001.png: .*{message}|masks/odd/{message}"):
        dataset.mask(index)
    assert sum(len(batch.indices) for batch in dataset.masked_batches(SMALL, (8, 8))) == 5
    assert list(dataset.log.unreadable) == [dataset.names[index]]
    with pytest.raises(DataError, match="1 of 6 images") as refusal:
        list(open_dataset(folder, role="evaluation").masked_batches(SMALL, (8, 8)))
    assert "--max-bad 1" in refusal.value.fix


def test_unreadable_masks_are_named_before_classes_are_counted(tmp_path):
    folder = MADE.write_folder(tmp_path / "d", classes=False)
    (folder / "masks/odd/0001.png").write_bytes(png(np.zeros((16, 16, 3), np.uint8)))
    with pytest.raises(DataError, match=r"1 of 6 .*0001.png: a colour image"):
        open_dataset(folder, role="evaluation")
    assert open_dataset(folder, role="evaluation", max_bad=1).class_names[-1] == "4"


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("kind", ["gray", "palette"])
def test_few_bits_hold_indices_too(bits, kind):
    """Viewers stretch gray of fewer bits to 0…255; an index stays what it is."""
    indices = np.arange(64, dtype=np.uint8).reshape(8, 8) % 2 ** min(bits, 6)
    image = Image.fromarray(indices)
    if kind == "palette":
        image.putpalette(list(range(256)) * 3)
        stream = io.BytesIO()
        image.save(stream, "PNG", bits=bits)
        content = stream.getvalue()
    else:
        content = gray_png(indices, bits)
    assert content[24:26] == bytes([bits, 3 if kind == "palette" else 0])
    np.testing.assert_array_equal(decode_mask(content, "a.png"), indices)


def gray_png(indices: np.ndarray, bits: int) -> bytes:
    """Gray of any depth, which Pillow does not write."""
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = indices.shape
    unpacked = np.unpackbits(indices[..., np.newaxis], axis=-1)[..., 8 - bits :].reshape(height, -1)
    lines = b"".join(b"\0" + np.packbits(line).tobytes() for line in unpacked)
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


# Hashes, samples, disjointness


def test_the_fingerprint_covers_masks(folder):
    before = open_dataset(folder, role="evaluation")
    assert before.fingerprint, "read before the change"
    assert len(before.mask_hashes) == len(before)
    file = folder / "masks/odd/0001.png"
    mask = np.asarray(Image.open(file)).copy()
    mask[0, 0] = (mask[0, 0] + 1) % 5
    file.write_bytes(png(mask))
    after = open_dataset(folder, role="evaluation")
    assert before.fingerprint != after.fingerprint
    assert before.content_hashes == after.content_hashes
    changed = [name for name, a, b in zip(after.names, before.mask_hashes, after.mask_hashes, strict=True) if a != b]
    assert changed == ["images/odd/0001.png"]
    assert after.mask_hashes[after.names.index(changed[0])] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_sample_keeps_its_masks(folder):
    dataset = open_dataset(folder, role="evaluation")
    some = dataset.sample(3, seed=1)
    assert len(some) == 3
    for index, name in enumerate(some.names):
        np.testing.assert_array_equal(some.mask(index), dataset.mask(dataset.names.index(name)))


def test_calibration_images_are_known_again(folder):
    calibration = open_dataset(folder, role="calibration")
    assert not calibration.segmented
    assert calibration.class_names == ()
    with pytest.raises(UsageError, match="6 of 6 images"):
        check_disjoint(calibration.content_hashes, open_dataset(folder, role="evaluation"))


def test_no_masks(tmp_path):
    np.savez(tmp_path / "a.npz", x=MADE.images)
    dataset = open_dataset(tmp_path / "a.npz", role="training")
    with pytest.raises(DataError, match="has no masks"):
        dataset.mask(0)
    with pytest.raises(DataError, match="has no masks"):
        next(dataset.masked_batches(SMALL, (8, 8)))
