"""Grad-CAM in closed form, from the features that a file gives; see :mod:`edgex.explain`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from edgex.explain.head import Head
from edgex.exposed import exposed
from edgex.graph.ir import Array
from edgex.lint.onnx_file import OnnxFile


class Mapper(Protocol):
    """From one image (height, width, channels) and a class index to a map (rows, columns)."""

    def __call__(self, image: Array, label: int) -> Array: ...


@contextmanager
def grad_cam(file: OnnxFile, head: Head, threads: int) -> Iterator[Mapper]:
    """A function that maps images, in a process of its own. ModelError if ONNX Runtime refuses the file."""
    with exposed(file, [head.features], threads) as run:

        def mapped(image: Array, label: int) -> Array:
            (features,) = run(image[np.newaxis])
            return class_map(features[0], head.weights[:, label])

        yield mapped


def class_map(features: Array, weights: Array) -> Array:
    """Of features (channels, rows, columns) and a class' weights (channels,)."""
    positions = features.shape[1] * features.shape[2]
    summed: Array = np.tensordot(weights, features, axes=1)
    evidence: Array = np.maximum(summed, 0) / positions
    return evidence
