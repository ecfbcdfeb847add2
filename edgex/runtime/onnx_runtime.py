"""Runs ``.onnx`` files by ONNX Runtime, on the CPU."""

from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from edgex.errors import ModelError, RuntimeMissingError
from edgex.plan import QuantizationParameters
from edgex.runtime.runner import missing, one_image_shape, only_input, to_input, to_real

PROVIDER = "CPUExecutionProvider"
DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
}
LAYOUT_OPS = ("Identity", "Reshape", "Transpose")
INTEGERS = ("tensor(int8)", "tensor(uint8)")


class _Ends(NamedTuple):
    """What the integers at a model's ends stand for; None where there are none or nothing says so."""

    input: QuantizationParameters | None = None
    output: QuantizationParameters | None = None


class OnnxRuntimeRunner:
    """See :class:`edgex.runtime.Runner`."""

    runtime = "onnxruntime"

    def __init__(self, path: Path, threads: int) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise missing(self.runtime, "onnxruntime") from error
        self.threads = threads
        self._path = path
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=[PROVIDER])
        except Exception as error:  # ONNX Runtime's errors have no other base in common
            raise ModelError(f"ONNX Runtime refuses {path}: {error}", fix="Write the file anew.") from error
        if self._session.get_providers()[0] != PROVIDER:
            raise RuntimeMissingError(f"ONNX Runtime did not give {PROVIDER} for {path}.", fix="Install it again.")
        declared = only_input(path, self._session.get_inputs())
        if declared.type not in DTYPES:
            raise ModelError(
                f"{path} takes {declared.type}; edgex runs models that take images.", fix="Give an image classifier."
            )
        output = self._session.get_outputs()[0]
        self._input_name, self._output_name = declared.name, output.name
        self._ends = _Ends()
        if declared.type in INTEGERS or output.type in INTEGERS:
            self._ends = _read_ends(path, declared.name, output.name)
        self.input_shape = one_image_shape(path, declared.shape)
        self.input_dtype = np.dtype(DTYPES[declared.type])
        self.output_shape = tuple(output.shape[1:])
        if not all(isinstance(size, int) for size in self.output_shape):
            self.output_shape = self.run(np.zeros((1, *self.input_shape), self.input_dtype)).shape[1:]

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """See :class:`edgex.runtime.Runner`."""
        images = to_input(batch, self.input_dtype, self._ends.input, self._path)
        try:
            (output,) = self._session.run([self._output_name], {self._input_name: images})
        except Exception as error:  # as above
            raise ModelError(f"ONNX Runtime cannot run {self._path}: {error}", fix="Write the file anew.") from error
        return to_real(output, self._ends.output)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        del self._session


def _read_ends(path: Path, input_name: str, output_name: str) -> _Ends:
    """Scale and zero point of the first DequantizeLinear and the last QuantizeLinear, with only layout between."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    readers = {node.input[0]: node for node in graph.node if node.input}
    makers = {name: node for node in graph.node for name in node.output}

    def parameters(node: onnx.NodeProto | None, op_type: str) -> QuantizationParameters | None:
        if node is None or node.op_type != op_type or not constants.keys() >= set(node.input[1:]):
            return None
        scale, zero_point = (onnx.numpy_helper.to_array(constants[name]) for name in node.input[1:])
        return QuantizationParameters(np.float32(scale), int(zero_point))

    first, last = readers.get(input_name), makers.get(output_name)
    while first is not None and first.op_type in LAYOUT_OPS:
        first = readers.get(first.output[0])
    while last is not None and last.op_type in LAYOUT_OPS:
        last = makers.get(last.input[0])
    return _Ends(parameters(first, "DequantizeLinear"), parameters(last, "QuantizeLinear"))
