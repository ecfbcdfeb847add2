"""Decoding: golden pixels for every kind of file, and refusals of what is damaged or too large."""

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from edgex.errors import DataError
from edgex.images import FORMATS, MAX_PIXELS, decode, is_image

RED = (255, 0, 0)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def one_pixel(image: Image.Image, kind: str = "PNG", **options: object) -> tuple[int, ...]:
    pixels = decode(encoded(image, kind, **options), "a.png").pixels
    assert pixels.dtype == np.uint8
    assert pixels.shape == (2, 2, 3)
    assert (pixels == pixels[0, 0]).all()
    return tuple(map(int, pixels[0, 0]))


def filled(mode: str, color: object) -> Image.Image:
    return Image.new(mode, (2, 2), color)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format(kind):
    red, green, blue = one_pixel(filled("RGB", RED), kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert red >= 254
    assert green <= 1
    assert blue <= 1


@pytest.mark.parametrize(
    ("image", "kind", "expected"),
    [
        pytest.param(filled("L", 77), "PNG", (77, 77, 77), id="gray"),
        pytest.param(filled("1", 1), "PNG", (255, 255, 255), id="bilevel"),
        pytest.param(filled("LA", (100, 255)), "PNG", (100, 100, 100), id="gray+alpha, opaque"),
        pytest.param(filled("LA", (100, 0)), "PNG", (255, 255, 255), id="gray+alpha, transparent"),
        pytest.param(filled("RGBA", (10, 20, 30, 255)), "PNG", (10, 20, 30), id="RGBA, opaque"),
        pytest.param(filled("RGBA", (10, 20, 30, 0)), "PNG", (255, 255, 255), id="RGBA, transparent"),
        pytest.param(filled("RGBA", (0, 0, 0, 51)), "PNG", (204, 204, 204), id="RGBA, a fifth"),
        pytest.param(filled("RGB", (10, 20, 30)).quantize(4), "PNG", (10, 20, 30), id="palette"),
        pytest.param(filled("CMYK", (255, 0, 0, 0)), "TIFF", (0, 255, 255), id="CMYK"),
        pytest.param(filled("CMYK", (0, 0, 0, 255)), "TIFF", (0, 0, 0), id="CMYK, black"),
        pytest.param(Image.fromarray(np.full((2, 2), 0x8001, np.uint16)), "PNG", (128, 128, 128), id="16-bit PNG"),
        pytest.param(Image.fromarray(np.full((2, 2), 0xFFFF, np.uint16)), "TIFF", (255, 255, 255), id="16-bit TIFF"),
    ],
)
def test_conversion_golden(image, kind, expected):
    assert one_pixel(image, kind) == expected


def test_cmyk_jpeg():
    cyan = one_pixel(filled("CMYK", (255, 0, 0, 0)), "JPEG", quality=100)
    assert np.abs(np.subtract(cyan, (0, 255, 255))).max() <= 2


def test_transparent_palette_color():
    image = filled("RGB", (10, 20, 30)).quantize(4)
    assert one_pixel(image, transparency=image.getpixel((0, 0))) == (255, 255, 255)


def test_16_bit_rgb_takes_the_high_byte():
    row = b"\0" + struct.pack(">3H", 0x80FF, 0x1000, 0xFF00) * 2
    assert tuple(decode(png(2, 2, bits=16, data=row * 2), "a.png").pixels[0, 0]) == (0x80, 0x10, 0xFF)


def test_first_frame_of_several():
    frames = [filled("RGB", RED), filled("RGB", (0, 0, 255))]
    assert one_pixel(frames[0], "GIF", save_all=True, append_images=frames[1:]) == RED


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [[1, 2, 3], [4, 5, 6]]),
        (3, [[6, 5, 4], [3, 2, 1]]),
        (6, [[4, 1], [5, 2], [6, 3]]),
        (8, [[3, 6], [2, 5], [1, 4]]),
    ],
)
def test_exif_orientation(orientation, expected):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.array([[1, 2, 3], [4, 5, 6]], np.uint8))
    decoded = decode(encoded(image, exif=exif), "a.png")
    np.testing.assert_array_equal(decoded.pixels[..., 0], expected)
    assert decoded.reoriented is (orientation != 1)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_pixels_are_refused(mode):
    with pytest.raises(DataError, match=r"^x\.tiff: 32-bit"):
        decode(encoded(filled(mode, 1), "TIFF"), "x.tiff")


@pytest.mark.parametrize(
    "content", [b"", b"not an image", encoded(filled("RGB", RED), "PPM")], ids=["empty", "text", "PPM"]
)
def test_other_files_are_refused(content):
    with pytest.raises(DataError, match=r"^x\.jpg: not a BMP, GIF, .* or WEBP image"):
        decode(content, "x.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_truncated_files_are_refused(kind):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    content = encoded(noise, kind)
    decode(content, "whole")
    with pytest.raises(DataError, match=r"^half: "):
        decode(content[: len(content) // 2], "half")


def png(width: int, height: int, *, bits: int = 8, data: bytes = b"") -> bytes:
    """A PNG file whose header says what it likes."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


DECODE_WITH_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from edgex.errors import DataError
from edgex.images import decode

decode(Path(sys.argv[1]).read_bytes(), "small.png")
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 64 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    decode(Path(sys.argv[2]).read_bytes(), "big.png")
except DataError as error:
    sys.stdout.write(error.message)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits its memory by means of Linux")
@pytest.mark.parametrize(("side", "refusal"), [(60_000, "limit"), (8_001, "over the limit"), (8_000, "MemoryError")])
def test_decompression_bomb_allocates_nothing(side, refusal, tmp_path):
    """The last image is within the limit of pixels, and fails as all would if they were allocated."""
    assert (side**2 > MAX_PIXELS) is (refusal != "MemoryError")
    (tmp_path / "small.png").write_bytes(png(2, 2, data=bytes(14)))
    (tmp_path / "big.png").write_bytes(png(side, side, data=bytes(14)))
    command = [sys.executable, "-c", DECODE_WITH_LITTLE_MEMORY, tmp_path / "small.png", tmp_path / "big.png"]
    message = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert message.startswith("big.png: ")
    assert refusal in message


def test_is_image():
    assert is_image("a/b.JPeG")
    assert not is_image("a/b.txt")
    assert not is_image("jpg")
