"""Weights of 4 bits as bytes, which ONNX and TFLite store alike."""

import numpy as np
from numpy.typing import NDArray


def pack_int4(values: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Two weights to a byte, (ceil(size / 2),): the first in the lower half, a missing last one as 0.

    Rows follow each other without a gap (https://onnx.ai/onnx/technical/int4.html).
    """
    halves = np.zeros(values.size + values.size % 2, np.uint8)
    halves[: values.size] = values.reshape(-1).view(np.uint8) & 0xF
    return halves[::2] | halves[1::2] << np.uint8(4)
