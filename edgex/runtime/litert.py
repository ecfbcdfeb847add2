"""Runs ``.tflite`` files by LiteRT, on the CPU through XNNPACK."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from edgex.errors import ModelError
from edgex.plan import QuantizationParameters
from edgex.runtime.runner import missing, one_image_shape, only_input, to_input, to_real


class LiteRtRunner:
    """See :class:`edgex.runtime.Runner`."""

    runtime = "litert"

    def __init__(self, path: Path, threads: int) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise missing(self.runtime, "ai-edge-litert") from error
        self.threads = threads
        self._path = path
        try:
            self._interpreter = Interpreter(str(path), num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"LiteRT refuses {path}: {error}", fix="Write the file anew.") from error
        self._input = only_input(path, self._interpreter.get_input_details())
        self._output = self._interpreter.get_output_details()[0]
        self._batch = int(self._input["shape"][0])
        self.input_shape = one_image_shape(path, self._input["shape_signature"].tolist())
        self.input_dtype = np.dtype(self._input["dtype"])
        self.output_shape = tuple(self._output["shape"][1:].tolist())

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """See :class:`edgex.runtime.Runner`."""
        try:
            if len(batch) != self._batch:
                self._resize(len(batch))
            self._interpreter.set_tensor(
                self._input["index"], to_input(batch, self.input_dtype, _parameters(self._input), self._path)
            )
            self._interpreter.invoke()
            return to_real(self._interpreter.get_tensor(self._output["index"]), _parameters(self._output))
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"LiteRT cannot run {self._path}: {error}", fix="Write the file anew.") from error

    def _resize(self, batch: int) -> None:
        self._interpreter.resize_tensor_input(self._input["index"], (batch, *self.input_shape))
        self._interpreter.allocate_tensors()
        self._batch = batch

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        del self._interpreter


def _parameters(details: Mapping[str, Any]) -> QuantizationParameters | None:
    """None for a tensor of floats, whose scale LiteRT gives as 0."""
    scale, zero_point = details["quantization"]
    return QuantizationParameters(np.float32(scale), zero_point) if scale else None
