"""Runs ``.onnx`` and ``.tflite`` files by OpenVINO, on the CPU.

What is float in a file is computed in float32. Left to itself OpenVINO takes bfloat16 where the CPU has it, and then
the figures of a float file would be those of another model (Xception at 299, with AMX: 64 ms for 156). INT8 files do
not lose by it: they take 25 ms either way.
"""

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from edgex.errors import ModelError
from edgex.runtime.runner import missing, one_image_shape, only_input, to_input


class OpenVinoRunner:
    """See :class:`edgex.runtime.Runner`."""

    runtime = "openvino"

    def __init__(self, path: Path, threads: int) -> None:
        try:
            import openvino
        except ImportError as error:
            raise missing(self.runtime, "'edgex[openvino]'") from error
        self.threads = threads
        self._path = path
        self._core = openvino.Core()
        try:
            self._model = self._core.read_model(path)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO refuses {path}: {error}", fix="Write the file anew.") from error
        declared = only_input(path, self._model.inputs)
        dimensions = [size.get_length() if size.is_static else str(size) for size in declared.get_partial_shape()]
        self.input_shape = one_image_shape(path, dimensions)
        self.input_dtype = np.dtype(declared.get_element_type().to_dtype())
        self._compile(1)
        self.output_shape = tuple(self._compiled.output(0).shape)[1:]

    def _compile(self, batch: int) -> None:
        """Fix the batch size: shapes known in advance run faster than open ones."""
        options = {
            "INFERENCE_NUM_THREADS": self.threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        try:
            self._model.reshape((batch, *self.input_shape))
            self._compiled = self._core.compile_model(self._model, "CPU", options)
        except RuntimeError as error:
            raise ModelError(
                f"OpenVINO cannot run {self._path} with a batch of {batch}: {error}", fix="Write the file anew."
            ) from error
        self._batch = batch
        self._request = self._compiled.create_infer_request()

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """See :class:`edgex.runtime.Runner`."""
        if len(batch) != self._batch:
            self._compile(len(batch))
        images = to_input(batch, self.input_dtype, None, self._path)
        try:
            return np.array(self._request.infer([images])[0])
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot run {self._path}: {error}", fix="Write the file anew.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        del self._request, self._compiled, self._model, self._core
