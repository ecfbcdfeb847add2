"""A model file as a function from images to scores, and the arithmetic at its ends."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from edgex.errors import ModelError, UsageError
from edgex.plan import QuantizationParameters
from edgex.runtime.integer_ends import onnx_ends
from edgex.runtime.process import Limits, Worker
from edgex.runtime.worker import Port


class Runner:
    """A model file, loaded by a runtime in a process of its own; a context manager. One thread at a time may call it.

    Attributes:
        runtime: its name.
        threads: that one inference may use.
        input_shape: of one image as the file takes it, without the batch axis; (height, width, channels) in all
            that edgex writes, but an ONNX file from elsewhere may want channels first.
        input_dtype: as the file takes it.
        output_shape: of the first output, without the batch axis.

    Raises:
        UsageError: the file leaves the size of its images open.
        ModelError: it takes no images. Other EdgexErrors as :meth:`edgex.runtime.process.Worker.open`.
    """

    def __init__(
        self, path: Path, runtime: str, threads: int, python: Path | None = None, limits: Limits | None = None
    ) -> None:
        self.runtime = runtime
        self.threads = threads
        self._path = path
        self._worker = Worker(python, limits)
        try:
            self._describe(self._worker.open(path, runtime, threads))
        except BaseException:
            self._worker.close()
            raise

    def _describe(self, described: dict[str, Any]) -> None:
        ports = [Port(**port) for port in described["inputs"]]
        if len(ports) != 1:
            raise ModelError(
                f"{self._path} has {len(ports)} inputs, and only models with one are evaluated.",
                fix="Give an image classifier.",
            )
        if not described["outputs"]:
            raise ModelError(f"{self._path} has no output.", fix="Give an image classifier.")
        source, output = ports[0], Port(**described["outputs"][0])
        self.input_shape = one_image_shape(self._path, source.shape)
        self.input_dtype = np.dtype(source.dtype)
        self._input, self._output = _parameters(source), _parameters(output)
        if self._path.suffix.lower() == ".onnx" and "int8" in source.dtype + output.dtype:
            self._input, self._output = onnx_ends(self._path, source.name, output.name)
        self.output_shape = tuple(size for size in output.shape[1:] if size is not None)
        if len(self.output_shape) != len(output.shape) - 1:
            self.output_shape = self._run(np.zeros((1, *self.input_shape), self.input_dtype)).shape[1:]

    def run(self, images: NDArray[Any]) -> NDArray[Any]:
        """The first output for images (N, *input_shape), each of which is run by itself.

        Real values are quantized if the file takes integers; values that are of ``input_dtype`` already are taken as
        they are. The result (N, *output_shape) is in real values.

        Raises:
            UsageError: the file takes integers and does not say what they stand for.
            ModelError: the runtime cannot run the file, or it gives something else than it declares.
        """
        result = self._to_real(self._run(self.to_input(images)))
        if result.shape != (len(images), *self.output_shape):
            raise ModelError(
                f"{self._path} gives {result.shape} for {len(images)} images, each declared as {self.output_shape}.",
                fix="Export it again.",
            )
        return result

    def to_input(self, images: NDArray[Any]) -> NDArray[Any]:
        """Images in the type that the file takes. UsageError if it takes integers and does not say what they mean."""
        if images.dtype == self.input_dtype:
            return images
        if np.issubdtype(self.input_dtype, np.floating):
            return images.astype(self.input_dtype)
        if self._input is None:
            raise UsageError(
                f"{self._path} takes {self.input_dtype} and does not say what its integers stand for.",
                fix="Give it a float input, or evaluate it with the runtime that it was written for.",
            )
        limits = np.iinfo(self.input_dtype)
        levels: NDArray[Any] = np.rint(images / self._input.scale) + self._input.zero_point
        return levels.clip(limits.min, limits.max).astype(self.input_dtype)

    @property
    def output_step(self) -> float:
        """Between neighbouring values of the output, where they are integers; else 0."""
        return 0.0 if self._output is None else float(self._output.scale)

    def _to_real(self, output: NDArray[Any]) -> NDArray[Any]:
        if self._output is None:
            return output if output.dtype.kind == "f" else output.astype(np.float32)
        real: NDArray[np.float32] = (output.astype(np.float32) - self._output.zero_point) * self._output.scale
        return real

    def _run(self, images: NDArray[Any]) -> NDArray[Any]:
        _, outputs = self._worker.ask("run", self._worker.limits.run_seconds * len(images), [images])
        return outputs[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._worker.close()


def _parameters(port: Port) -> QuantizationParameters | None:
    if port.scale is None or port.zero_point is None:
        return None
    return QuantizationParameters(np.float32(port.scale), port.zero_point)


def one_image_shape(path: Path, dimensions: Sequence[int | None]) -> tuple[int, ...]:
    """The shape of one image, from an input's dimensions with its batch axis.

    Raises:
        ModelError: there is nothing but a batch axis.
        UsageError: a dimension is left open.
    """
    if len(dimensions) < 2:
        raise ModelError(
            f"{path} takes no images: its input has the shape {tuple(dimensions)}.", fix="Give an image classifier."
        )
    sizes = tuple(size for size in dimensions[1:] if size is not None)
    if len(sizes) < len(dimensions) - 1:
        listed = ", ".join("?" if size is None else str(size) for size in dimensions)
        raise UsageError(
            f"{path} leaves its input size open: ({listed}).", fix="Write it for one size, with --input-size."
        )
    return sizes
