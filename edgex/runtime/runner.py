"""What every runner is, and the arithmetic at its ends."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from edgex.errors import ModelError, RuntimeMissingError, UsageError
from edgex.plan import QuantizationParameters


class Runner(Protocol):
    """A model file, loaded by a runtime; a context manager. One thread at a time may call it.

    Attributes:
        runtime: its name.
        threads: that one inference may use.
        input_shape: of one image as the file takes it, without the batch axis; (height, width, channels) in all
            that edgex writes, but an ONNX file from elsewhere may want channels first.
        input_dtype: as the file takes it.
        output_shape: of the first output, without the batch axis.
    """

    @property
    def runtime(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def input_shape(self) -> tuple[int, ...]: ...
    @property
    def input_dtype(self) -> np.dtype[Any]: ...
    @property
    def output_shape(self) -> tuple[int, ...]: ...

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """The first output for a batch (N, *input_shape) of any N.

        Real values in ``batch`` are quantized if the file takes integers; values that are of ``input_dtype``
        already are taken as they are. The result is in real values.

        Raises:
            ModelError: the runtime cannot run the file, or takes only other batch sizes.
        """

    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...


def to_input(
    batch: NDArray[Any], dtype: np.dtype[Any], parameters: QuantizationParameters | None, path: Path
) -> NDArray[Any]:
    """``batch`` in the type that a file takes."""
    if batch.dtype == dtype:
        return batch
    if np.issubdtype(dtype, np.floating):
        return batch.astype(dtype)
    if parameters is None:
        raise UsageError(
            f"{path} takes {dtype} and does not say what its integers stand for.",
            fix="Give it a float input, or evaluate it with the runtime that it was written for.",
        )
    limits = np.iinfo(dtype)
    levels: NDArray[Any] = np.rint(batch / parameters.scale) + parameters.zero_point
    return levels.clip(limits.min, limits.max).astype(dtype)


def to_real(output: NDArray[Any], parameters: QuantizationParameters | None) -> NDArray[Any]:
    """The real values of an output; floats are what they are."""
    if parameters is None:
        return output
    real: NDArray[np.float32] = (output.astype(np.float32) - parameters.zero_point) * parameters.scale
    return real


def one_image_shape(path: Path, dimensions: Sequence[object]) -> tuple[int, ...]:
    """The shape of one image, from an input's dimensions with its batch axis.

    Raises:
        ModelError: there is nothing but a batch axis.
        UsageError: a dimension is left open.
    """
    shape = tuple(dimensions[1:])
    if not shape:
        raise ModelError(
            f"{path} takes no images: its input has the shape {tuple(dimensions)}.", fix="Give an image classifier."
        )
    sizes = tuple(size for size in shape if isinstance(size, int) and size > 0)
    if sizes != shape:
        listed = ", ".join(map(str, dimensions))
        raise UsageError(
            f"{path} leaves its input size open: ({listed}).", fix="Write it for one size, with --input-size."
        )
    return sizes


def only_input(path: Path, inputs: Sequence[Any]) -> Any:
    """The one input of a model. ModelError if it has more or none."""
    if len(inputs) != 1:
        raise ModelError(
            f"{path} has {len(inputs)} inputs, and edgex runs models with one.", fix="Give an image classifier."
        )
    return inputs[0]


def missing(runtime: str, package: str) -> RuntimeMissingError:
    """The error that says how to install a runtime."""
    return RuntimeMissingError(f"The runtime {runtime} is not installed here.", fix=f"Run: pip install {package}")
