"""A worker that also tells how long each operation takes, by the profilers of the runtimes.

Runs as :mod:`.worker` does, which it imports from its own folder, and answers its requests and two more:

===========  =============================================  ===========================================
``profile``  ``path``, ``runtime``, ``threads``, ``runs``;  ``plain``: ms of a run without the profiler;
             one array for each input                       ``operations``: a list of operations
``memory``   ``path``, ``runtime``, ``threads``;            ``peak``: bytes that loading the file and
             one array for each input                       running it once take on top of the runtime;
                                                            null where the system does not say
===========  =============================================  ===========================================

For ``profile`` a file is opened and warmed up first, by the worker's requests.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING or __name__ != "__main__":
    from edgex.runtime import litert_events, worker
else:
    import litert_events
    import worker

    # Only these two are to be found in this file's folder
    sys.path.pop(0)

import contextlib
import json
import re
import tempfile
from bisect import bisect_right
from collections import defaultdict
from importlib import import_module
from pathlib import Path
from typing import Any, Callable, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgex.runtime.worker import Arrays, Header, Host, Message

WARM_RUNS = 5
WRITTEN = re.compile(
    r"(\.(raw|quantized|body|nchw|nhwc|half|float|int8|keepdims|reshaped|conv|image|logits|scaled|gate|rsqrt|erf|one"
    r"|halved|positive|sigmoid|relu|three|sixth|zero))+$"
)
"""What the writers of edgex append to the name of a layer where it takes more than one operation."""


class Operation(NamedTuple):
    """What a runtime ran as one.

    Attributes:
        layer: of the Keras model; the runtime's own name where the runtime made the operation.
        op: as the runtime calls the operation.
        kernel: its implementation; empty where the runtime does not say.
        read: type of the first activation read, in the words of the runtime; empty where it does not say.
        made: type of the first output.
        ms: of one run.
    """

    layer: str
    op: str
    kernel: str
    read: str
    made: str
    ms: float


def layer_name(name: str) -> str:
    return WRITTEN.sub("", name)


def interquartile_mean(runs: Any) -> Any:
    """Mean over the middle half of (runs, …): as steady as the median, and finer than the clocks' microseconds."""
    ordered = np.sort(runs, axis=0)
    quarter = len(ordered) // 4
    return ordered[quarter : len(ordered) - quarter].mean(axis=0)


# ONNX Runtime


def profile_onnx(path: str, threads: int, feeds: Arrays, runs: int) -> list[Operation]:
    """By the session's profiler, which writes an event for each node to a JSON file."""
    import onnxruntime

    options = worker.OnnxRuntime.options(threads)
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "events")
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        named = {declared.name: feed for declared, feed in zip(session.get_inputs(), feeds)}
        for _ in range(WARM_RUNS + runs):
            session.run(None, named)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8", errors="replace"))
    starts = [event["ts"] for event in events if event["name"] == "model_run"][-runs:]
    seen: dict[tuple[str, str], Any] = {}
    times: dict[tuple[str, str], Any] = defaultdict(lambda: np.zeros(runs))
    for event in events:
        run = bisect_right(starts, event["ts"]) - 1
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time") and run >= 0:
            key = event["args"]["node_index"], event["name"]
            seen[key] = event["args"]
            times[key][run] += event["dur"] / 1e3
    usual = interquartile_mean(np.stack(list(times.values()), axis=1))
    layer_of = _OnnxLayers(path)
    return [
        _onnx_operation(layer_of(name, arguments["op_name"]), arguments, float(ms))
        for ((_, name), arguments), ms in zip(seen.items(), usual)
    ]


def _onnx_operation(layer: str, arguments: dict[str, Any], ms: float) -> Operation:
    read, made = (
        next((element for tensor in arguments[side] for element in tensor), "")
        for side in ("input_type_shape", "output_type_shape")
    )
    return Operation(layer, arguments["op_name"], "", read, made, ms)


class _OnnxLayers:
    """Names the layers of an .onnx file, as well as it can where the package onnx is missing.

    What ONNX Runtime fuses for blocked layouts it names after the last of it, ``block1_conv1_act``. The layer that has
    the weights is found by following the file back to the convolution.
    """

    def __init__(self, path: str) -> None:
        try:
            import onnx
        except ImportError:
            self._makers = {}
        else:
            graph = onnx.load(path, load_external_data=False).graph
            self._makers = {output: node for node in graph.node for output in node.output}

    def __call__(self, event: str, op: str) -> str:
        name = re.sub(r"(_kernel_time|_token_\d+|_nchwc|_nhwc)+$", "", event)
        node = self._makers.get(name)
        while "Conv" in op and node is not None and node.op_type != "Conv" and len(node.input):
            node = self._makers.get(node.input[0])
        return layer_name(name if node is None else node.name or name) or op


# OpenVINO

NO_KERNEL = ("undef", "unknown")
"""So begins what OpenVINO says in place of a kernel for what it doesn't run."""


class _ProfiledOpenVino(worker.OpenVino):
    def _compile(self, shapes: list[Any]) -> None:
        self._options["PERF_COUNT"] = True
        super()._compile(shapes)

    def profile(self, feeds: Arrays, runs: int) -> list[Operation]:
        """By the counters of its request, which are means over all runs since the file was compiled."""
        self.feed(feeds)
        before = {name: mean for name, (_, mean) in self._counters(WARM_RUNS).items()}
        after = self._counters(runs)
        nodes = {node.get_friendly_name(): node for node in self._compiled.get_runtime_model().get_ops()}
        operations = []
        for name, (counter, mean) in after.items():
            ms = (mean * (WARM_RUNS + runs) - before.get(name, 0.0) * WARM_RUNS) / runs
            node = nodes[name]
            read = node.input(0).get_element_type().to_string() if node.get_input_size() else ""
            made = node.get_output_element_type(0).to_string()
            layer = layer_name(re.sub(r"(/(WithoutBiases|Dequantization\w+))+$", "", name))
            operations.append(Operation(layer, counter.node_type, counter.exec_type, read, made, max(ms, 0.0)))
        return operations

    def _counters(self, runs: int) -> dict[str, Any]:
        """The counter of each operation and its milliseconds, after so many more runs.

        OpenVINO counts in whole microseconds, and what takes less than one as not run. It has a kernel all the same,
        which what is fused or an input doesn't have. Only a reorder that made no copy has one, too.
        """
        from openvino import ProfilingInfo

        def ran(counter: Any) -> bool:
            if counter.status == ProfilingInfo.Status.EXECUTED:
                return True
            return counter.node_type != "Reorder" and not counter.exec_type.startswith(NO_KERNEL)

        for _ in range(runs):
            self.step()
        return {
            counter.node_name: (counter, counter.real_time.total_seconds() * 1e3)
            for counter in self._request.profiling_info
            if ran(counter)
        }


def profile_openvino(path: str, threads: int, feeds: Arrays, runs: int) -> list[Operation]:
    return _ProfiledOpenVino(path, threads).profile(feeds, runs)


# LiteRT


class _TfLiteOperator(NamedTuple):
    """An operator of a .tflite file: its layer, code of the schema, and types as in :class:`Operation`."""

    layer: str
    code: str
    read: str
    made: str


WEIGHTED_CODES = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL"}
WEIGHTED_TAGS = ("Convolution", "Fully Connected", "Deconvolution", "Batch Matrix Multiply")
VIEW_CODES = {"RESHAPE", "SQUEEZE", "EXPAND_DIMS"}
VIEW_TAGS = ("Static Reshape", "Copy")
"""What XNNPACK adds or drops as it likes."""


def profile_litert(path: str, threads: int, feeds: Arrays, runs: int) -> list[Operation]:
    """By LiteRT's profiler, whose events of XNNPACK are matched with the operators of the file by their order."""
    inputs, operators = _read_tflite(path)
    model = litert_events.ProfiledModel(path, threads, dict(zip(inputs, feeds)))
    for _ in range(WARM_RUNS):
        model.run()
    ran = [model.run() for _ in range(runs)]
    first, *others = ([(event.tag, event.node) for event in run] for run in ran)
    if any(other != first for other in others):
        raise ValueError("it does not run the same operators each time")
    usual = interquartile_mean([[event.ms for event in run] for run in ran])
    matched = match_operators(ran[0], [operator.code for operator in operators])
    return [
        _litert_operation(event, None if position is None else operators[position], float(ms))
        for event, position, ms in zip(ran[0], matched, usual)
    ]


def _litert_operation(event: litert_events.Event, operator: _TfLiteOperator | None, ms: float) -> Operation:
    kernel = event.tag if event.node is None else f"TFLite {event.tag}"
    if operator is None:
        types = re.findall(r"\b(?:F16|F32|QC8|QS8|QU8|S8|U8)\b", event.tag) or [""]
        return Operation(event.tag, event.tag.split(" (")[0], kernel, types[0], types[0], ms)
    return Operation(operator.layer, operator.code, kernel, operator.read, operator.made, ms)


def match_operators(events: Sequence[litert_events.Event], codes: Sequence[str]) -> list[int | None]:
    """The place in the file of what each event ran, None where that cannot be told.

    Operators with weights, and those of TFLite's own kernels, are sure. Between them, as many events as there are
    operators are these operators.
    """
    sure = [(number, event.node) for number, event in enumerate(events) if event.node is not None]
    own = {node for _, node in sure}
    ran = [number for number, event in enumerate(events) if event.tag.startswith(WEIGHTED_TAGS)]
    written = [place for place, code in enumerate(codes) if code in WEIGHTED_CODES and place not in own]
    if len(ran) == len(written):
        sure = sorted(sure + list(zip(ran, written)))
    matched: list[int | None] = [None] * len(events)
    for number, place in sure:
        matched[number] = place
    begin = (-1, -1)
    for end in [*sure, (len(events), len(codes))]:
        between = [n for n in range(begin[0] + 1, end[0]) if not events[n].tag.startswith(VIEW_TAGS)]
        places = [place for place in range(begin[1] + 1, end[1]) if codes[place] not in VIEW_CODES]
        if len(between) == len(places):
            for number, place in zip(between, places):
                matched[number] = place
        begin = end
    return matched


def _read_tflite(path: str) -> tuple[list[str], list[_TfLiteOperator]]:
    """The names of the inputs and the operators of the first subgraph, in the order in which they run."""
    from ai_edge_litert import schema_py_generated as schema

    codes = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    types = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    model = schema.Model.GetRootAs(Path(path).read_bytes())
    graph = model.Subgraphs(0)

    def name_of(index: int) -> str:
        return str(graph.Tensors(index).Name().decode(errors="replace"))

    def constant(index: int) -> bool:
        return bool(model.Buffers(graph.Tensors(index).Buffer()).DataLength())

    operators = []
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        code = model.OperatorCodes(operator.OpcodeIndex())
        inputs = [index for index in operator.InputsAsNumpy() if index >= 0] if operator.InputsLength() else []
        read = [types[graph.Tensors(index).Type()] for index in inputs if not constant(index)]
        output = operator.Outputs(0)
        kernels = [name[: -len(".kernel")] for name in map(name_of, inputs) if name.endswith(".kernel")]
        layer = kernels[0] if kernels else layer_name(name_of(output).split(";")[0])
        named = codes.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "CUSTOM")
        operators.append(_TfLiteOperator(layer, named, (read or [""])[0], types[graph.Tensors(output).Type()]))
    return [name_of(index) for index in graph.InputsAsNumpy()], operators


class Profiler(NamedTuple):
    """How a runtime's operations are timed.

    ``slows`` says that the profiler adds some 10 µs to each.
    """

    operations: Callable[[str, int, Arrays, int], list[Operation]]
    slows: bool = False


PROFILERS = {
    "litert": Profiler(profile_litert),
    "onnxruntime": Profiler(profile_onnx, slows=True),
    "openvino": Profiler(profile_openvino),
}
"""The runtimes that have one, on the CPU."""


def profile(host: Host, header: Header, arrays: Arrays) -> Message:
    profiler = PROFILERS[header["runtime"]]
    _, (plain,) = host.time(header, [])
    operations = profiler.operations(header["path"], header["threads"], arrays, header["runs"])
    return {
        "plain": float(interquartile_mean(plain)),
        "operations": [operation._asdict() for operation in operations],
    }, []


def memory(_host: Host, header: Header, arrays: Arrays) -> Message:
    """The peak of a fresh process, from after the runtime is imported."""
    runtime = worker.RUNTIMES[header["runtime"]]
    import_module(runtime.module + runtime.entry)
    with contextlib.suppress(OSError):  # importing may have taken more for a moment
        Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    session = runtime.open(header["path"], header["threads"])
    session.feed(arrays)
    session.step()
    after = _resident("VmHWM")
    return {"peak": None if before is None or after is None else max(0, after - before)}, []


def _resident(key: str) -> int | None:
    """Bytes, as Linux has them in a file."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{key}:")), None)


if __name__ == "__main__":
    worker.main({**worker.REQUESTS, "profile": profile, "memory": memory})
