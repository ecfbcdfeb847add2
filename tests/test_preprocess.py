"""Preprocessing against golden numbers, Keras' functions and a bilinear resize written from its definition."""

import numpy as np
import pytest
from PIL import Image

from edgex.errors import UsageError
from edgex.preprocess import Preprocessing

GOLDEN = {
    "none": (0, 128, 255),
    "xception": (-1, 0.003921569, 1),
    "imagenet": (-2.117904, 0.205182, 2.64),
    "caffe": (151.061, 11.221, -123.68),
}
"""Of the pixel red 0, green 128, blue 255; caffe turns the order around."""

RANDOM = np.random.default_rng(0)


def half_pixel_bilinear(image: np.ndarray, size: tuple[int, int], offset: float = 0.5) -> np.ndarray:
    """Bilinear enlargement; output pixel i lies at (i + 0.5) * scale - 0.5 in the source, and the edge is repeated."""
    for axis, wanted in enumerate(size):
        have = image.shape[axis]
        place = np.clip((np.arange(wanted) + offset) * have / wanted - offset, 0, have - 1)
        low = np.floor(place).astype(int)
        high = np.minimum(low + 1, have - 1)
        weight = (place - low).reshape([-1 if a == axis else 1 for a in range(3)])
        image = np.take(image, low, axis) * (1 - weight) + np.take(image, high, axis) * weight
    return image


@pytest.mark.parametrize("scale", GOLDEN)
def test_scale_golden(scale):
    pixels = np.array([[[0, 128, 255]]], np.uint8)
    result = Preprocessing((1, 1), scale=scale).apply(pixels)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[0, 0], GOLDEN[scale], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("scale", "mode"), [("xception", "tf"), ("imagenet", "torch"), ("caffe", "caffe")])
def test_scale_is_that_of_keras(scale, mode):
    utils = pytest.importorskip("keras.src.applications.imagenet_utils")
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    expected = utils.preprocess_input(pixels.copy(), data_format="channels_last", mode=mode)
    np.testing.assert_array_equal(Preprocessing((16, 16), scale=scale).normalize(pixels), expected)


def test_stretch_is_half_pixel_bilinear():
    image = RANDOM.integers(0, 256, (32, 32, 3), np.uint8)
    result = Preprocessing((71, 71), scale="none").apply(image)
    # Pillow rounds to bytes after each axis: half a level each.
    assert np.abs(result - half_pixel_bilinear(image, (71, 71))).max() <= 1.0
    corners_aligned = half_pixel_bilinear(image, (71, 71), offset=0.0)
    assert np.abs(result - corners_aligned).max() > 10, "the tolerance could not tell the two apart"


def test_stretch_agrees_with_tensorflow():
    tf = pytest.importorskip("tensorflow")
    image = RANDOM.integers(0, 256, (32, 32, 3), np.uint8)
    expected = tf.image.resize(image, (71, 50), "bilinear").numpy()
    assert np.abs(Preprocessing((71, 50), scale="none").apply(image) - expected).max() <= 1.0


def test_stretch_leaves_an_image_of_the_right_size_alone():
    image = RANDOM.integers(0, 256, (9, 7, 3), np.uint8)
    np.testing.assert_array_equal(Preprocessing((9, 7), scale="none").apply(image), image)


def test_stretch_averages_when_it_shrinks():
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))[..., np.newaxis]
    result = Preprocessing((8, 8), channels=1, scale="none").apply(stripes)
    assert np.abs(result - 127.5).max() < 8, "a stripe survived: sampled, not averaged"


def thirds() -> np.ndarray:
    """Twelve by four pixels: a red, a green and a blue square."""
    return np.eye(3, dtype=np.uint8).repeat(4, axis=0)[np.newaxis].repeat(4, axis=0) * 255


@pytest.mark.parametrize("turned", [False, True])
def test_crop_keeps_the_centre(turned):
    image = thirds().swapaxes(0, 1) if turned else thirds()
    result = Preprocessing((8, 8), scale="none", resize="crop").apply(image)
    np.testing.assert_array_equal(result[1:-1, 1:-1], np.broadcast_to(np.float32([0, 255, 0]), (6, 6, 3)))


def test_crop_to_an_oblong():
    result = Preprocessing((4, 8), scale="none", resize="crop").apply(thirds())
    np.testing.assert_array_equal(result, thirds()[:, 2:10])


def test_pad_keeps_everything_and_adds_black():
    result = Preprocessing((12, 12), scale="none", resize="pad").apply(thirds())
    np.testing.assert_array_equal(result[4:8], thirds())
    assert not result[:4].any()
    assert not result[8:].any()


def test_gray_becomes_rgb_and_back():
    gray = RANDOM.integers(0, 256, (5, 5, 1), np.uint8)
    rgb = Preprocessing((5, 5), scale="none").apply(gray)
    np.testing.assert_array_equal(rgb, np.repeat(gray, 3, axis=2))
    np.testing.assert_array_equal(Preprocessing((5, 5), 1, "none").apply(rgb.astype(np.uint8)), gray)


def test_rgb_becomes_luma():
    result = Preprocessing((4, 12), channels=1, scale="none").apply(thirds())
    np.testing.assert_array_equal(result[0, ::4, 0], np.rint([0.299 * 255, 0.587 * 255, 0.114 * 255]))


def test_pillow_images_and_arrays_agree():
    image = RANDOM.integers(0, 256, (11, 13, 3), np.uint8)
    preprocessing = Preprocessing((20, 20))
    np.testing.assert_array_equal(preprocessing.apply(Image.fromarray(image)), preprocessing.apply(image))


def test_normalize_takes_batches():
    images = RANDOM.integers(0, 256, (4, 6, 6, 3), np.uint8)
    for scale in GOLDEN:
        preprocessing = Preprocessing((6, 6), scale=scale)
        one_by_one = np.stack([preprocessing.apply(image) for image in images])
        np.testing.assert_array_equal(preprocessing.normalize(images), one_by_one)


def test_json_round_trip():
    preprocessing = Preprocessing((71, 50), channels=1, scale="none", resize="pad")
    document = preprocessing.to_json()
    assert document == {"size": [71, 50], "channels": 1, "scale": "none", "resize": "pad"}
    assert Preprocessing.from_json(document) == preprocessing
    assert Preprocessing.from_json({"size": [8, 8]}) == Preprocessing((8, 8))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"size": [8, 8], "sclae": "none"}, "unknown keys: sclae"),
        ({"size": [8, 4097]}, "size"),
        ({"size": [10**90, 8]}, "size"),
        ({"size": [8, 8], "scale": "tf"}, "unknown scale 'tf'"),
        ({"size": [8, 8], "resize": "squash"}, "unknown resize 'squash'"),
        ({"size": [8, 8], "channels": 4}, "unknown channels 4"),
        ({"size": [8, 8], "channels": 1, "scale": "caffe"}, "reads one channel"),
        ({"size": [8, 0]}, "size"),
        ({"size": [8]}, "size"),
        ({"size": "88"}, "size"),
        ({"size": None}, "no size"),
        ({}, "no size"),
    ],
)
def test_json_refused(document, message):
    with pytest.raises(UsageError, match=message) as refusal:
        Preprocessing.from_json(document)
    assert refusal.value.fix
