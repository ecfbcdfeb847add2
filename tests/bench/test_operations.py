"""Profiles by operation: near the whole run, by Keras names, and honest about what is in float."""

from functools import cache
from pathlib import Path

import onnx
import pytest
from command import edgex

from edgex.bench import BenchOptions, bench, profile_report
from edgex.bench.block import Contender
from edgex.bench.operations import OperationProfile, precision_of, profile_operations, without_overhead
from edgex.errors import UsageError
from edgex.graph.ir import Conv2D, Dense, DepthwiseConv2D
from edgex.graph.passes import prepare
from edgex.graph.read import read_model
from edgex.resources import demo_model
from edgex.runtime.profiler import Operation

RUNTIMES = [("onnxruntime", "onnx"), ("openvino", "onnx"), ("litert", "tflite")]
KEPT = {
    "block5_sepconv1.depthwise",
    "block5_sepconv1.pointwise",
    "block5_sepconv2.depthwise",
    "block5_sepconv2.pointwise",
    "block5_sepconv3.depthwise",
    "block5_sepconv3.pointwise",
}
ALWAYS_FLOAT = "predictions.softmax"
FEWEST, MOST = 0.2, 3.0
"""Of the time of a run, its operations take so much. Wide, because other tests may run; an error in the unit, or a sum
where a mean is meant, is 10 times off or more."""

ATTEMPTS = 5
"""A machine that another guest takes away for a moment distorts one measurement, not all."""


@pytest.fixture(autouse=True)
def _needs_runtime(request: pytest.FixtureRequest) -> None:
    call = getattr(request.node, "callspec", None)
    if call is not None and call.params.get("runtime") == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is an extra")


@cache
def profiled(path: Path, runtime: str) -> OperationProfile:
    return profile_operations(Contender(path, runtime, 1), 0.2)


def weighted_layers() -> set[str]:
    graph = prepare(read_model(demo_model()))
    return {node.name for node in graph.nodes if isinstance(node.op, Conv2D | DepthwiseConv2D | Dense)}


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize(("runtime", "suffix"), RUNTIMES)
def test_operations_make_up_the_run(demo_files: Path, runtime: str, suffix: str, precision: str) -> None:
    path = demo_files / "all" / f"xception-digits.{precision}.{suffix}"
    for _ in range(ATTEMPTS):
        profile = profile_operations(Contender(path, runtime, 1), 0.2)
        if FEWEST < profile.operations_ms / profile.total_ms < MOST:
            break
    else:
        pytest.fail(f"{profile.operations_ms} ms of operations in a run of {profile.total_ms} ms")
    assert profile.runtime == runtime
    assert sum(operation.share for operation in profile.operations) == pytest.approx(1)
    slowest = max(profile.operations, key=lambda operation: operation.ms)
    assert slowest.share == pytest.approx(slowest.ms / profile.operations_ms)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize(("runtime", "suffix"), RUNTIMES)
def test_layers_have_their_keras_names(demo_files: Path, runtime: str, suffix: str, precision: str) -> None:
    profile = profiled(demo_files / "all" / f"xception-digits.{precision}.{suffix}", runtime)
    wanted = "int8" if precision == "int8" else "float"
    layers = [operation.layer for operation in profile.operations if operation.precision == wanted]
    weighted = weighted_layers()
    assert len(weighted) > 70
    assert weighted - set(layers) == set()
    assert profile.in_float == ((ALWAYS_FLOAT,) if precision == "int8" else ())


@pytest.mark.parametrize(("runtime", "suffix"), RUNTIMES)
def test_layers_kept_in_float_show(demo_files: Path, runtime: str, suffix: str) -> None:
    profile = profiled(demo_files / "kept" / f"xception-digits.mixed.{suffix}", runtime)
    # ONNX Runtime and LiteRT compute the block's first activation alone; OpenVINO adds its residual in float
    besides = {"add_3"} if runtime == "openvino" else {"block5_sepconv1_act"}
    assert set(profile.in_float) == KEPT | besides | {ALWAYS_FLOAT}


@pytest.mark.parametrize("runtime", ["openvino"])
def test_what_takes_less_than_a_microsecond_is_there(runtime: str, tmp_path: Path) -> None:
    image, doubled = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (1, 4)) for name in ("image", "doubled")
    )
    node = onnx.helper.make_node("Add", ["image", "image"], ["doubled"], "doubled")
    graph = onnx.helper.make_graph([node], "short", [image], [doubled])
    path = tmp_path / "short.onnx"
    onnx.save(onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 13)]), path)
    for _ in range(ATTEMPTS):
        (operation,) = profile_operations(Contender(path, runtime, 1), 0.2).operations
        assert (operation.layer, operation.precision) == ("doubled", "float")
        if not operation.ms:
            return
    pytest.skip("this machine takes a microsecond for one addition")


@pytest.mark.parametrize(
    ("op", "read", "made", "precision"),
    [
        ("QLinearConv", "uint8", "uint8", "int8"),
        ("QGemm", "uint8", "float", "int8"),
        ("Conv", "float", "float", "float"),
        ("Convolution", "f32", "u8", "float"),
        ("QuantizeLinear", "float", "uint8", "conversion"),
        ("DEQUANTIZE", "INT8", "FLOAT32", "conversion"),
        ("Subgraph", "u8", "u8", "int8"),
        ("Subgraph", "u8", "f32", "conversion"),
        ("ReorderInput", "float", "float", "conversion"),
        ("Shape", "int64", "int64", "other"),
    ],
)
def test_precision_is_that_of_the_computation(op: str, read: str, made: str, precision: str) -> None:
    assert precision_of(Operation("layer", op, "", read, made, 1.0)) == precision


@pytest.mark.parametrize(
    ("runtime", "total", "own", "overhead"),
    [
        ("onnxruntime", 0.7, [0.8, 0.0], 0.2),
        ("onnxruntime", 1.2, [1.0, 0.1], 0.0),  # a noisy machine: the run took longer than its operations
        ("litert", 0.7, [1.0, 0.1], 0.0),
    ],
)
def test_what_the_profiler_adds_is_taken_off(runtime: str, total: float, own: list[float], overhead: float) -> None:
    measured = [Operation("layer", "Conv", "", "float", "float", ms) for ms in (1.0, 0.1)]
    profile = without_overhead(Path("a.onnx"), runtime, total, measured)
    assert [operation.ms for operation in profile.operations] == pytest.approx(own)
    assert profile.overhead_ms == pytest.approx(overhead)


def test_a_report_is_profiled_file_by_file(demo_files: Path) -> None:
    path = demo_files / "all" / "xception-digits.int8.tflite"
    options = BenchOptions(runtimes=("litert",), threads=1, runs=2)
    report = bench([path, path], options)
    done: list[tuple[int, int]] = []
    profiled = profile_report(report, options, progress=lambda *counts: done.append(counts))
    assert [(profile.path, profile.runtime) for profile in profiled.profiles] == [(path, "litert")]
    assert (done, profiled.notes) == ([(1, 1)], ())


def test_a_runtime_without_a_profiler_is_an_error(demo_files: Path) -> None:
    path = demo_files / "all" / "xception-digits.int8.tflite"
    with pytest.raises(UsageError, match="tflite-runtime does not tell") as error:
        profile_operations(Contender(path, "tflite-runtime", 1))
    assert error.value.fix == "Run the file by litert or openvino."


def test_the_command_shows_and_tells_operations(demo_files: Path, tmp_path: Path) -> None:
    path = demo_files / "kept" / "xception-digits.mixed.tflite"
    arguments = ("bench", path, "--runtime", "litert", "--threads", 1, "--runs", 2, "--by-op")
    shown = edgex(*arguments, cwd=tmp_path)
    assert "94 more" in shown.out
    assert "In float: block5_sepconv1_act, block5_sepconv1.depthwise" in shown.out
    (told,) = edgex(*arguments, "--json", cwd=tmp_path).document["operations"]
    assert (told["path"], told["runtime"]) == (str(path), "litert")
    assert told["operations"][0].keys() == {"layer", "op", "kernel", "precision", "ms", "share"}
