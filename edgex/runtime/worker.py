"""Runs one model file in a process of its own, and is spoken to over a pipe.

This file needs the standard library, numpy and a runtime, nothing of edgex, and Python 3.8: it also runs in the Python
of a board, or in one whose packages edgex cannot share. Whatever a model file does to its runtime, it does here.

A message, either way, is the length of a header (4 bytes, big-endian), the header in JSON, and the bytes of the arrays
that ``"arrays"`` in the header lists by dtype and shape. Requests, by ``"do"``:

============  =====================================  ===================================================
request       takes                                  answers
============  =====================================  ===================================================
``describe``                                         ``python``, ``runtimes``: name → version
``open``      ``path``, ``runtime``, ``threads``     ``inputs``, ``outputs``: each a list of ports
``run``       one array of N for each input          one array of N for each output; runs one by one
``warm``      one array for each input, ``seconds``  ``init``, ``first``: in ms; array: of the runs after
``time``      ``runs``                               array: ms of each run, on the input of ``warm``
``compile``   ``path``, ``runtime``, ``output``      writes the file as the runtime would have it
============  =====================================  ===================================================

What fails is answered with ``error``, a sentence, and ``kind``: ``missing`` (the runtime, or the hardware asked for)
or ``refused`` (by the runtime).
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # Python puts this file's folder first, unless told not to, where neighbours would be taken for modules
    sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]

import contextlib
import json
import os
import platform
import signal
import struct
import time
from functools import partial
from importlib import import_module, util
from typing import TYPE_CHECKING, Any, BinaryIO, Callable, NamedTuple

import numpy as np

if TYPE_CHECKING:
    Header = dict[str, Any]
    Arrays = list[Any]
    Message = tuple[Header, Arrays]
    Requests = dict[str, Callable[["Host", Header, Arrays], Message]]

FEWEST_WARM_RUNS = 3
LENGTH = struct.Struct(">I")
LONGEST_HEADER = 1 << 24
# An ONNX file that any provider can load: its output is its input
IDENTITY = b"\x08\x07:\x19\x12\x01gZ\t\n\x01x\x12\x04\n\x02\x08\x01b\t\n\x01x\x12\x04\n\x02\x08\x01B\x02\x10\r"


class MissingError(Exception):
    """The runtime, or the hardware asked of it, is not here."""


class Port(NamedTuple):
    """One input or output of a model.

    ``shape`` has None where a size is open; ``scale`` and ``zero_point`` are None where the runtime does not say them.
    """

    name: str
    shape: list[int | None]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


# Sessions: a file, loaded. ``feed`` sets the inputs, ``step`` computes the outputs from them.


class TfLite:
    """LiteRT, or tflite-runtime, which it was before."""

    def __init__(self, module: str, path: str, threads: int) -> None:
        self._interpreter = import_module(f"{module}.interpreter").Interpreter(path, num_threads=threads)
        self._interpreter.allocate_tensors()
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self.inputs = [self._port(details) for details in inputs]
        self.outputs = [self._port(details) for details in outputs]
        self._shapes = [tuple(details["shape"]) for details in inputs]
        self._writes = [details["index"] for details in inputs]
        self._reads = [details["index"] for details in outputs]

    @staticmethod
    def _port(details: dict[str, Any]) -> Port:
        shape = [None if size < 0 else int(size) for size in details["shape_signature"]]
        scale, zero_point = details["quantization"]
        meaning = (float(scale), int(zero_point)) if scale else (None, None)
        return Port(details["name"], shape, np.dtype(details["dtype"]).name, *meaning)

    def feed(self, arrays: Arrays) -> None:
        shapes = [array.shape for array in arrays]
        if shapes != self._shapes:
            for index, shape in zip(self._writes, shapes):
                self._interpreter.resize_tensor_input(index, shape)
            self._interpreter.allocate_tensors()
            self._shapes = shapes
        self._arrays = arrays

    def step(self) -> Arrays:
        for index, array in zip(self._writes, self._arrays):
            self._interpreter.set_tensor(index, array)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._reads]


class OnnxRuntime:
    """ONNX Runtime, on one execution provider and no other."""

    def __init__(self, provider: str, path: str, threads: int) -> None:
        import onnxruntime

        options = self.options(threads)
        if provider not in onnxruntime.get_available_providers():
            raise MissingError(f"this ONNX Runtime comes without {provider}")
        if provider != "CPUExecutionProvider":
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        try:
            self._session = tried = onnxruntime.InferenceSession(path, options, providers=[provider], enable_fallback=0)
        except Exception:
            # The fault of the file? A provider may be listed here, and then fail or leave all to the CPU
            tried = onnxruntime.InferenceSession(IDENTITY, self.options(threads), providers=[provider])
            if tried.get_providers()[0] == provider:
                raise
        if tried.get_providers()[0] != provider:
            raise MissingError(f"{provider} does not work here, and ONNX Runtime fell back to another")
        self.inputs = [self._port(declared) for declared in self._session.get_inputs()]
        self.outputs = [self._port(declared) for declared in self._session.get_outputs()]
        self._reads = [port.name for port in self.outputs]

    @staticmethod
    def _port(declared: Any) -> Port:
        element = declared.type[declared.type.find("(") + 1 : -1]
        dtype = {"float": "float32", "double": "float64"}.get(element, element)
        return Port(declared.name, [size if isinstance(size, int) else None for size in declared.shape], dtype)

    @staticmethod
    def options(threads: int) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        return options

    @staticmethod
    def compile(path: str, output: str) -> None:
        """Write the model as optimized for this CPU."""
        import onnxruntime

        options = OnnxRuntime.options(threads=0)  # as many as it likes
        options.optimized_model_filepath = output
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def feed(self, arrays: Arrays) -> None:
        self._arrays = {port.name: array for port, array in zip(self.inputs, arrays)}

    def step(self) -> Arrays:
        outputs: Arrays = self._session.run(self._reads, self._arrays)
        return outputs


class OpenVino:
    """OpenVINO on the CPU, in float32 for what is float in a file.

    Left to itself it takes bfloat16 where the CPU has it, and then the figures would be those of another model.
    """

    def __init__(self, path: str, threads: int) -> None:
        import openvino

        self._core = openvino.Core()
        self._options = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._model = self._core.read_model(path)
        self.inputs = [self._port(declared) for declared in self._model.inputs]
        self.outputs = [self._port(declared) for declared in self._model.outputs]
        self._shapes: list[Any] = []
        shapes: list[Any] = [(port.shape[0] or 1, *port.shape[1:]) if port.shape else () for port in self.inputs]
        if all(None not in shape for shape in shapes):
            self._compile(shapes)

    @staticmethod
    def _port(declared: Any) -> Port:
        shape = [size.get_length() if size.is_static else None for size in declared.get_partial_shape()]
        name = min(declared.names, default="")  # a file made of a PyTorch model may give none
        return Port(name, shape, np.dtype(declared.get_element_type().to_dtype()).name)

    @staticmethod
    def compile(path: str, output: str) -> None:
        """Write the model as OpenVINO's IR, an .xml and a .bin."""
        import openvino

        openvino.save_model(openvino.Core().read_model(path), output, compress_to_fp16=False)

    def _compile(self, shapes: list[Any]) -> None:
        """For these shapes of the inputs: known in advance, they run faster than left open."""
        self._model.reshape(dict(zip(self._model.inputs, shapes)))
        self._compiled = self._core.compile_model(self._model, "CPU", self._options)
        self._request = self._compiled.create_infer_request()
        self._shapes = shapes

    def feed(self, arrays: Arrays) -> None:
        shapes = [array.shape for array in arrays]
        if shapes != self._shapes:
            self._compile(shapes)
        self._arrays = arrays

    def step(self) -> Arrays:
        results = self._request.infer(self._arrays)
        return [results[number] for number in range(len(self.outputs))]


class Runtime(NamedTuple):
    """The module that a runtime comes in, and how it opens a file, or compiles one.

    ``library`` is a file of the module that is there only if the module was built for the hardware; ``entry`` is the
    submodule that does the work, if there is one.
    """

    module: str
    open: Callable[[str, int], Any]
    library: str = "__init__.py"
    compile: Callable[[str, str], None] | None = None
    entry: str = ""


RUNTIMES = {
    "litert": Runtime("ai_edge_litert", partial(TfLite, "ai_edge_litert"), entry=".interpreter"),
    "tflite-runtime": Runtime("tflite_runtime", partial(TfLite, "tflite_runtime"), entry=".interpreter"),
    "onnxruntime": Runtime("onnxruntime", partial(OnnxRuntime, "CPUExecutionProvider"), compile=OnnxRuntime.compile),
    "onnxruntime-cuda": Runtime(
        "onnxruntime", partial(OnnxRuntime, "CUDAExecutionProvider"), "capi/*onnxruntime_providers_cuda.*"
    ),
    "onnxruntime-tensorrt": Runtime(
        "onnxruntime", partial(OnnxRuntime, "TensorrtExecutionProvider"), "capi/*onnxruntime_providers_tensorrt.*"
    ),
    "openvino": Runtime("openvino", OpenVino, compile=OpenVino.compile),
}


def installed() -> list[str]:
    """The runtimes of this Python. None is imported, so whether they work is yet to be seen."""
    specs = {name: util.find_spec(runtime.module) for name, runtime in RUNTIMES.items()}
    return [
        name
        for name, spec in specs.items()
        if spec is not None and spec.origin and any(Path(spec.origin).parent.glob(RUNTIMES[name].library))
    ]


def version(runtime: str) -> str:
    """As its module says; OpenVINO adds its build's number."""
    module = import_module(RUNTIMES[runtime].module)
    return str(getattr(module, "__version__", "unknown")).split("-")[0]


class Host:
    """Answers requests; each method is one."""

    def describe(self, _header: Header, _arrays: Arrays) -> Message:
        runtimes = {}
        for name in installed():
            with contextlib.suppress(ImportError):  # broken, which is as good as not installed
                runtimes[name] = version(name)
        return {"python": platform.python_version(), "runtimes": runtimes}, []

    def open(self, header: Header, _arrays: Arrays) -> Message:
        runtime = RUNTIMES[header["runtime"]]
        import_module(runtime.module + runtime.entry)  # before the clock starts: that is not the file's time
        start = time.perf_counter()
        self._session = runtime.open(header["path"], header["threads"])
        self._init = time.perf_counter() - start
        ports = {"inputs": self._session.inputs, "outputs": self._session.outputs}
        return {end: [port._asdict() for port in listed] for end, listed in ports.items()}, []

    def compile(self, header: Header, _arrays: Arrays) -> Message:
        compile_file = RUNTIMES[header["runtime"]].compile
        if compile_file is None:
            raise ValueError("it compiles no files")
        compile_file(header["path"], header["output"])
        return {}, []

    def run(self, _header: Header, arrays: Arrays) -> Message:
        results = []
        for number in range(len(arrays[0])):
            self._session.feed([array[number : number + 1] for array in arrays])
            results.append(self._session.step())
        joined = [np.concatenate(outputs) for outputs in zip(*results)]
        if any(output.dtype.hasobject for output in joined):
            raise ValueError("its outputs are no numbers")
        return {}, joined

    def warm(self, header: Header, arrays: Arrays) -> Message:
        start = time.perf_counter()
        self._session.feed(arrays)
        init = self._init + time.perf_counter() - start
        (first,) = self._time(1)
        end = time.perf_counter() + header["seconds"]
        samples = self._time(FEWEST_WARM_RUNS)
        while time.perf_counter() < end:
            samples += self._time(1)
        return {"init": init * 1e3, "first": first}, [np.array(samples)]

    def time(self, header: Header, _arrays: Arrays) -> Message:
        return {}, [np.array(self._time(header["runs"]))]

    def _time(self, runs: int) -> list[float]:
        """Milliseconds of each run, from the input set to the output read."""
        step, clock = self._session.step, time.perf_counter_ns
        samples = []
        for _ in range(runs):
            start = clock()
            step()
            samples.append((clock() - start) / 1e6)
        return samples


REQUESTS: Requests = {
    request.__name__: request for request in (Host.describe, Host.open, Host.run, Host.warm, Host.time, Host.compile)
}


def answer(requests: Requests, host: Host, header: Header, arrays: Arrays) -> Message:
    """The answer to one request, or the error it came to."""
    try:
        return requests[header["do"]](host, header, arrays)
    except (MissingError, ImportError) as error:
        return {"error": str(error), "kind": "missing"}, []
    except Exception as error:  # noqa: BLE001  the errors of the runtimes have no other base in common
        return {"error": str(error) or type(error).__name__, "kind": "refused"}, []


# Messages


def read_message(stream: BinaryIO, most: float = float("inf")) -> Message:
    """The next message. EOFError at the stream's end, ValueError if it is none, OverflowError above ``most`` bytes."""
    (length,) = LENGTH.unpack(_read(stream, LENGTH.size))
    if length > LONGEST_HEADER:
        raise ValueError("this is no header")
    try:
        header = json.loads(_read(stream, length))
        described = [(np.dtype(array["dtype"]), tuple(map(int, array["shape"]))) for array in header.pop("arrays")]
        sizes = [int(np.prod(shape, dtype=object)) * dtype.itemsize for dtype, shape in described]
    except (AttributeError, LookupError, OverflowError, RecursionError, SyntaxError, TypeError) as error:
        raise ValueError("this is no header") from error
    if min(sizes, default=0) < 0 or sum(sizes) > most:
        raise OverflowError
    contents = [bytearray(_read(stream, size)) for size in sizes]  # LiteRT copies, in each run, what it may not write
    return header, [np.frombuffer(raw, dtype).reshape(shape) for raw, (dtype, shape) in zip(contents, described)]


def _read(stream: BinaryIO, size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content


def write_message(stream: BinaryIO, header: Header, arrays: Arrays) -> None:
    described = [{"dtype": array.dtype.str, "shape": array.shape} for array in arrays]
    encoded = json.dumps({**header, "arrays": described}).encode()
    stream.write(LENGTH.pack(len(encoded)) + encoded)
    for array in arrays:
        stream.write(array.tobytes())
    stream.flush()


def main(requests: Requests = REQUESTS) -> None:
    """Answer requests until there are no more. The program's one argument is the memory allowed, in bytes."""
    import resource

    limit, (_, hard) = int(sys.argv[1]), resource.getrlimit(resource.RLIMIT_DATA)
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for edgex, which then ends this process
    # What a runtime prints must not get among the answers
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    host = Host()
    with contextlib.suppress(EOFError):  # when there are no more
        while True:
            write_message(answers, *answer(requests, host, *read_message(sys.stdin.buffer)))


if __name__ == "__main__":
    main()
