"""What LiteRT's own profiler sees of each run, through the C API of its library: the Interpreter of Python has none.

Part of :mod:`.profiler`, and under the same terms: Python 3.8, and nothing of edgex. The structures are those of
``litert_profiler_event.h`` and ``litert_layout.h`` in LiteRT's ``litert/c/``.
"""

from __future__ import annotations

import ctypes
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FIRST_VERSION = (2, 2)
"""Of ai-edge-litert, whose library takes the options that switch the profiler on."""

# Values of LiteRT's enumerations
OPERATOR, DELEGATED_OPERATOR = 2, 8
CPU = 1
WRITE = 1

RANK = 0x7F
"""The bits of ``LiteRtLayout.rank`` that are not a flag."""


class Event(NamedTuple):
    """One operator of one run.

    ``node`` is its place in the file where TFLite's own kernel ran it, and None where XNNPACK did, whose operators
    are others than the file's but come in the same order.
    """

    tag: str
    node: int | None
    ms: float


class _EventData(ctypes.Structure):
    _fields_ = [
        ("tag", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("start_us", ctypes.c_uint64),
        ("elapsed_us", ctypes.c_uint64),
        ("memory", ctypes.c_size_t * 6),
        ("node", ctypes.c_uint64),
        ("subgraph", ctypes.c_uint64),
        ("source", ctypes.c_int),
    ]


class _TensorType(ctypes.Structure):
    _fields_ = [
        ("element", ctypes.c_int),
        ("rank", ctypes.c_uint32),
        ("sizes", ctypes.c_int32 * 8),
        ("strides", ctypes.c_uint32 * 8),
    ]


class ProfiledModel:
    """A .tflite file in LiteRT with XNNPACK, its profiler on.

    Args:
        path: the file.
        threads: that one run may use.
        feeds: what to run it on, by the names of its inputs.

    Raises:
        ImportError: this LiteRT is too old.
        ValueError: an input has an open size, or LiteRT refuses something.
    """

    def __init__(self, path: str, threads: int, feeds: Mapping[str, Any]) -> None:
        version = metadata.version("ai-edge-litert")
        if tuple(int(part) for part in version.split(".")[:2]) < FIRST_VERSION:
            raise ImportError(f"its profiler needs ai-edge-litert 2.2 or newer, and this is {version}")
        folder = Path(str(import_module("ai_edge_litert").__file__)).parent
        libraries = sorted(folder.glob("libLiteRt.*"))
        if not libraries:
            raise ImportError("its profiler is in a library that this ai-edge-litert comes without")
        self._library = ctypes.CDLL(str(libraries[0]))
        self._environment = self._make("LiteRtCreateEnvironment", 0, None)
        self._model = self._make("LiteRtCreateModelFromFile", self._environment, path.encode())
        self._compiled = self._make("LiteRtCreateCompiledModel", self._environment, self._model, self._options(threads))
        self._signature = self._make("LiteRtGetModelSignature", self._model, ctypes.c_size_t(0))
        self._inputs, self._outputs = self._buffers("Input"), self._buffers("Output")
        for position, buffer in enumerate(self._inputs):
            self._write(position, buffer, feeds)
        self._profiler = self._make("LiteRtCompiledModelGetProfiler", self._compiled)

    def run(self) -> list[Event]:
        """One run: its operators, in the order in which they ran."""
        self._call("LiteRtResetProfiler", self._profiler)
        self._call("LiteRtStartProfiler", self._profiler)
        inputs, outputs = ctypes.c_size_t(len(self._inputs)), ctypes.c_size_t(len(self._outputs))
        first = ctypes.c_size_t(0)
        self._call("LiteRtRunCompiledModel", self._compiled, first, inputs, self._inputs, outputs, self._outputs)
        self._call("LiteRtStopProfiler", self._profiler)
        return list(self._events())

    def _events(self) -> Iterator[Event]:
        count = ctypes.c_int()
        self._call("LiteRtGetNumProfilerEvents", self._profiler, ctypes.byref(count))
        events = (_EventData * count.value)()
        self._call("LiteRtGetProfilerEvents", self._profiler, count, events)
        for event in events:
            # The operators of other subgraphs are part of the one that calls them
            if event.type in (OPERATOR, DELEGATED_OPERATOR) and event.subgraph == 0:
                node = event.node if event.type == OPERATOR else None
                yield Event(event.tag.decode(errors="replace"), node, event.elapsed_us / 1e3)

    def _options(self, threads: int) -> ctypes.c_void_p:
        options = self._make("LiteRtCreateOptions")
        self._call("LiteRtSetOptionsHardwareAccelerators", options, CPU)
        libc = ctypes.CDLL(None)
        libc.strdup.restype, libc.strdup.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
        release = ctypes.cast(libc.free, ctypes.c_void_p)
        settings = {"xnnpack": f"num_threads = {threads}\n", "runtime_options_string": "enable_profiling = true\n"}
        for name, toml in settings.items():
            owned = ctypes.c_void_p(libc.strdup(toml.encode()))
            opaque = self._make("LiteRtCreateOpaqueOptions", name.encode(), owned, release)
            self._call("LiteRtAddOpaqueOptions", options, opaque)
        return options

    def _buffers(self, end: str) -> Any:
        """The buffers of all inputs or outputs, empty."""
        count = ctypes.c_size_t()
        self._call(f"LiteRtGetNumSignature{end}s", self._signature, ctypes.byref(count))
        buffers = (ctypes.c_void_p * count.value)()
        for position in range(count.value):
            _, kind = self._tensor(end, position)
            needs = self._make(
                f"LiteRtGetCompiledModel{end}BufferRequirements",
                self._compiled,
                ctypes.c_size_t(0),
                ctypes.c_size_t(position),
            )
            made = self._make(
                "LiteRtCreateManagedTensorBufferFromRequirements", self._environment, ctypes.byref(kind), needs
            )
            buffers[position] = made.value
        return buffers

    def _tensor(self, end: str, position: int) -> tuple[str, _TensorType]:
        tensor = self._make(f"LiteRtGetSignature{end}TensorByIndex", self._signature, ctypes.c_size_t(position))
        name, kind = ctypes.c_char_p(), _TensorType()
        self._call("LiteRtGetTensorName", tensor, ctypes.byref(name))
        self._call("LiteRtGetRankedTensorType", tensor, ctypes.byref(kind))
        return (name.value or b"").decode(errors="replace"), kind

    def _write(self, position: int, buffer: int, feeds: Mapping[str, Any]) -> None:
        name, kind = self._tensor("Input", position)
        feed = feeds[name]
        if tuple(kind.sizes[: kind.rank & RANK]) != feed.shape:
            raise ValueError(f"its profiler does not take the open sizes of the input {name}")
        address = ctypes.c_void_p()
        self._call("LiteRtLockTensorBuffer", ctypes.c_void_p(buffer), ctypes.byref(address), WRITE)
        ctypes.memmove(address, feed.tobytes(), feed.nbytes)
        self._call("LiteRtUnlockTensorBuffer", ctypes.c_void_p(buffer))

    def _make(self, function: str, *arguments: Any) -> ctypes.c_void_p:
        """What a function of the library makes by its last argument."""
        made = ctypes.c_void_p()
        self._call(function, *arguments, ctypes.byref(made))
        return made

    def _call(self, function: str, *arguments: Any) -> None:
        status = getattr(self._library, function)(*arguments)
        if status:
            raise ValueError(f"{function} ended with status {status}")
