"""A network that labels pixels, masks, and what edgex makes of both: for the corpus."""

import io
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CLASSES = 3


def masked_zip(images: int, size: int, seed: int = 0, names: bool = True) -> bytes:
    """Noise in ``images/``, and in ``masks/`` which of the three colours is the strongest; the first row is void."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        if names:
            archive.writestr(zipfile.ZipInfo("classes.txt"), "red\ngreen\nblue\n")
        for number in range(images):
            pixels = np.random.default_rng([seed, number]).integers(0, 256, (size, size, 3), np.uint8)
            mask = pixels.argmax(axis=2).astype(np.uint8)
            mask[0] = 255
            for part, image in (("images", pixels), ("masks", mask)):
                archive.writestr(zipfile.ZipInfo(f"{part}/{number:02}.png"), png(image))
    return stream.getvalue()


def png(pixels: NDArray[np.uint8] | NDArray[np.uint16], palette: bool = False) -> bytes:
    """Of colours (height, width, 3), or of indices (height, width) in gray or with a palette."""
    from PIL import Image

    image, stream = Image.fromarray(pixels), io.BytesIO()
    if palette:
        image.putpalette([*range(256)] * 3)
    image.save(stream, "PNG")
    return stream.getvalue()


def write_segmenter(file: Path, size: int) -> None:
    """A network whose scores are the colours, mixed a little: it is right on most pixels."""
    from edgex.graph.ir import Conv2D, Graph, Input, Node, Softmax
    from edgex.write.onnx import onnx_model

    kernel = (4 * np.eye(CLASSES) + 0.8)[np.newaxis, np.newaxis].astype(np.float32)
    nodes = (
        Node("input", Input((size, size, 3))),
        Node("scores", Conv2D(), ("input",), {"kernel": kernel, "bias": np.array([0, 0.5, 0], np.float32)}),
        Node("softmax", Softmax(), ("scores",)),
    )
    file.write_bytes(onnx_model(Graph("segmenter", nodes, ("softmax",))).SerializeToString())
