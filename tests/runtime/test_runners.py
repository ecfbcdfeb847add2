"""Runners give what the file says, in every runtime, and refuse with reasons."""

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from foreign import save_identity, save_onnx
from graphs import tiny_xception
from onnx import TensorProto, helper, numpy_helper

from edgex.errors import ModelError, OutputError, UsageError
from edgex.evaluate import best_classes
from edgex.graph.ir import Conv2D, Graph, Input, Node
from edgex.plan import QuantizationPlan, Range
from edgex.runtime import RUNTIMES, Worker, open_runner
from edgex.write.onnx import OnnxForm, onnx_model
from edgex.write.tflite import tflite_model

HERE = ("litert", "onnxruntime", "openvino")
"""tflite-runtime has tests of its own, the others want a GPU."""
PAIRS = [(runtime, suffix) for runtime in HERE for suffix in RUNTIMES[runtime].suffixes]
STEP = 1 / 127
"""Of values in [-1, 1] in 8 bits."""


@pytest.fixture(scope="module")
def graph() -> Graph:
    return replace(tiny_xception(), outputs=("predictions",))


@pytest.fixture(scope="module")
def folder(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One graph in both formats, at paths that want care."""
    folder = tmp_path_factory.mktemp("a folder\nof Zürich")
    (folder / "tiny.onnx").write_bytes(onnx_model(graph).SerializeToString())
    (folder / "tiny.tflite").write_bytes(tflite_model(graph))
    if importlib.util.find_spec("openvino"):
        with Worker() as worker:
            worker.compile(folder / "tiny.onnx", "openvino", folder / "tiny.xml")
    return folder


@pytest.fixture(autouse=True)
def _needs_runtime(request: pytest.FixtureRequest) -> None:
    call = getattr(request.node, "callspec", None)
    if call is not None and call.params.get("runtime") == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is an extra")


def images(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (count, *shape)).astype(np.float32)


def exit_code(error: pytest.ExceptionInfo[Exception]) -> int:
    return int(error.value.exit_code)


@pytest.mark.parametrize(("runtime", "suffix"), PAIRS)
def test_describes_the_file(folder: Path, runtime: str, suffix: str) -> None:
    with open_runner(folder / f"tiny{suffix}", runtime=runtime, threads=2) as runner:
        assert (runner.runtime, runner.threads) == (runtime, 2)
        assert (runner.input_shape, runner.input_dtype) == ((32, 32, 3), np.float32)
        assert runner.output_shape == (10,)


@pytest.mark.parametrize(("runtime", "suffix"), PAIRS)
def test_runtimes_agree_at_any_batch_size(folder: Path, runtime: str, suffix: str) -> None:
    batch = images(7, 32, 32, 3)
    with open_runner(folder / "tiny.onnx", threads=1) as runner:
        expected = np.concatenate([runner.run(image[np.newaxis]) for image in batch])
    assert expected.std(axis=0).min() > 0.01, "the images must matter"
    with open_runner(folder / f"tiny{suffix}", runtime=runtime, threads=2) as runner:
        whole = runner.run(batch)
        single = runner.run(batch[:1])
    np.testing.assert_allclose(whole, expected, atol=1e-4)
    np.testing.assert_allclose(single, expected[:1], atol=1e-4)


def test_another_model_gives_another_result(folder: Path, graph: Graph, tmp_path: Path) -> None:
    """The tolerance above tells models apart that differ in one bias."""
    bias = graph["block1_conv1"].params["bias"] + np.float32(0.01)
    changed = graph.rewrite({"block1_conv1": [graph["block1_conv1"].with_params(bias=bias)]})
    (tmp_path / "changed.onnx").write_bytes(onnx_model(changed).SerializeToString())
    batch = images(1, 32, 32, 3)
    with (
        open_runner(folder / "tiny.onnx", threads=1) as before,
        open_runner(tmp_path / "changed.onnx", threads=1) as after,
    ):
        assert np.abs(before.run(batch) - after.run(batch)).max() > 1e-3


@pytest.mark.parametrize("name", ["int8.tflite", "int8.onnx", "uint8.onnx"])
def test_integer_ends_take_and_give_real_values(tmp_path: Path, name: str) -> None:
    """A convolution that copies its input, in 8 bits throughout, gives back what it is given, but for rounding."""
    kernel = np.eye(3, dtype=np.float32).reshape(1, 1, 3, 3)
    nodes = (Node("input", Input((4, 4, 3))), Node("copy", Conv2D(), ("input",), {"kernel": kernel}))
    graph = Graph("copy", nodes, ("copy",))
    plan = QuantizationPlan(
        "asymmetric", {"input": Range(-128 * STEP, 127 * STEP), "copy": Range(-1, 1.5)}, {"copy": "int8"}
    )
    path = tmp_path / name
    if path.suffix == ".onnx":
        form = OnnxForm(activation_type=path.stem, integer_io=True)
        path.write_bytes(onnx_model(graph, plan, form).SerializeToString())
    else:
        path.write_bytes(tflite_model(graph, plan, integer_io=True))
    batch = images(2, 4, 4, 3)
    with open_runner(path, threads=1) as runner:
        assert runner.input_dtype == np.dtype(path.stem)
        result = runner.run(batch)
        np.testing.assert_allclose(result, batch, atol=1.2 * STEP)
        integers = np.rint(batch / STEP) + (128 if path.stem == "uint8" else 0)
        np.testing.assert_array_equal(runner.run(integers.astype(runner.input_dtype)), result)


def test_integers_without_a_scale_are_refused(tmp_path: Path) -> None:
    path = save_identity(tmp_path / "raw.onnx", ["N", 4, 4, 3], TensorProto.UINT8)
    with open_runner(path, threads=1) as runner, pytest.raises(UsageError, match=r"raw\.onnx takes uint8"):
        runner.run(images(1, 4, 4, 3))


def test_foreign_files_keep_their_layout_and_type(tmp_path: Path) -> None:
    path = save_identity(tmp_path / "foreign.onnx", [1, 3, 8, 6], TensorProto.FLOAT16)
    with open_runner(path, threads=1) as runner:
        assert (runner.input_shape, runner.input_dtype) == ((3, 8, 6), np.float16)
        assert runner.output_shape == (3, 8, 6)
        batch = images(7, 3, 8, 6).astype(np.float16)
        np.testing.assert_array_equal(runner.run(batch), batch)
        with pytest.raises(ModelError, match=r"onnxruntime refuses .*foreign\.onnx"):
            runner.run(images(1, 3, 8, 5).astype(np.float16))


@pytest.mark.parametrize("dtype", [TensorProto.STRING, TensorProto.BFLOAT16])
def test_inputs_that_are_no_numbers(tmp_path: Path, dtype: int) -> None:
    path = save_identity(tmp_path / "words.onnx", [1, 4, 4, 3], dtype)
    with pytest.raises(ModelError, match=r"words\.onnx takes (string|bfloat16) at its input input_0"):
        open_runner(path, runtime="onnxruntime", threads=1)


def test_a_file_that_gives_something_else_than_it_declares(tmp_path: Path) -> None:
    image, scores = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in ("image", "scores"))
    kept = numpy_helper.from_array(np.array([True, True, True, False]), "kept")
    compress = helper.make_node("Compress", ["image", "kept"], ["scores"], axis=1)
    path = save_onnx(tmp_path / "lies.onnx", helper.make_graph([compress], "lies", [image], [scores], [kept]))
    with (
        open_runner(path, threads=1) as runner,
        pytest.raises(ModelError, match=r"lies\.onnx gives \(2, 3\) for 2 images, each declared as \(4,\)"),
    ):
        runner.run(images(2, 4))


def test_integer_scores_without_a_scale_are_their_own_values(tmp_path: Path) -> None:
    """As bytes, the negative of 0 would be the smallest number."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3])
    scores = helper.make_tensor_value_info("scores", TensorProto.UINT8, ["N", 3])
    cast = helper.make_node("Cast", ["image"], ["scores"], to=TensorProto.UINT8)
    path = save_onnx(tmp_path / "bytes.onnx", helper.make_graph([cast], "bytes", [image], [scores]))
    with open_runner(path, threads=1) as runner:
        result = runner.run(np.array([[0, 1, 255]], np.float32))
    assert best_classes(result, 3).tolist() == [[2, 1, 0]]


def test_outputs_that_are_no_numbers(tmp_path: Path) -> None:
    source = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 4, 4, 3])
    words = helper.make_tensor_value_info("words", TensorProto.STRING, [1, 4, 4, 3])
    cast = helper.make_node("Cast", ["image"], ["words"], to=TensorProto.STRING)
    path = save_onnx(tmp_path / "words.onnx", helper.make_graph([cast], "words", [source], [words]))
    with (
        open_runner(path, runtime="onnxruntime", threads=1) as runner,
        pytest.raises(ModelError, match=r"words\.onnx: its outputs are no numbers"),
    ):
        runner.run(images(1, 4, 4, 3))


@pytest.mark.parametrize(
    ("shape", "inputs", "code", "words"),
    [
        (["N", "H", "W", 3], 1, 2, "--input-size"),
        ([1, 8, 8, 3], 2, 3, "2 inputs"),
        ([1], 1, 3, "no images"),
    ],
)
def test_files_that_are_no_image_models(
    tmp_path: Path, shape: list[int | str], inputs: int, code: int, words: str
) -> None:
    path = save_identity(tmp_path / "odd.onnx", shape, inputs=inputs)
    with pytest.raises((ModelError, UsageError), match=words) as error:
        open_runner(path, threads=1)
    assert exit_code(error) == code
    assert "odd.onnx" in str(error.value)


@pytest.mark.parametrize(("runtime", "suffix"), PAIRS)
@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_truncated_files_are_refused(folder: Path, tmp_path: Path, runtime: str, suffix: str, kept: float) -> None:
    whole = (folder / f"tiny{suffix}").read_bytes()
    path = tmp_path / f"cut{suffix}"
    if suffix == ".xml":
        shutil.copy(folder / "tiny.bin", tmp_path / "cut.bin")
    path.write_bytes(whole[: kept if kept >= 1 else int(kept * len(whole))])
    with pytest.raises(ModelError, match="cut"):
        open_runner(path, runtime=runtime, threads=1)


@pytest.mark.parametrize(
    ("name", "runtime", "threads", "code", "words"),
    [
        ("tiny.onnx", "tensorrt", 1, 2, "litert, tflite-runtime, onnxruntime, onnxruntime-cuda"),
        ("tiny.onnx", "litert", 1, 2, "onnxruntime, onnxruntime-cuda, onnxruntime-tensorrt, openvino"),
        ("model.keras", None, 1, 2, ".tflite or .onnx"),
        ("tiny.onnx", None, 0, 2, "0 threads"),
        ("absent.onnx", None, 1, 8, "absent.onnx is not a file"),
    ],
)
def test_refuses_with_a_reason(
    folder: Path, name: str, runtime: str | None, threads: int, code: int, words: str
) -> None:
    with pytest.raises((UsageError, OutputError)) as error:
        open_runner(folder / name, runtime=runtime, threads=threads)
    assert exit_code(error) == code
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("name", "package", "install"),
    [
        ("litert", "ai_edge_litert", "pip install ai-edge-litert"),
        ("onnxruntime", "onnxruntime", "pip install onnxruntime"),
        ("openvino", "openvino", "pip install 'edgex[openvino]'"),
    ],
)
def test_says_how_to_install_what_is_missing(folder: Path, name: str, package: str, install: str) -> None:
    program = f"""
import sys
sys.modules[{package!r}] = None  # as if it were not installed
from pathlib import Path
from edgex.errors import RuntimeMissingError
from edgex.runtime import open_runner
try:
    open_runner(Path(sys.argv[1]), runtime={name!r}, threads=1)
except RuntimeMissingError as error:
    print(error)
    sys.exit(error.exit_code)
"""
    path = folder / f"tiny{RUNTIMES[name].suffixes[0]}"
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 6, done.stderr
    assert install in done.stdout


def test_importing_the_package_imports_no_runtime() -> None:
    program = (
        "import sys, edgex.runtime; print([n for n in ('onnx', 'onnxruntime', 'ai_edge_litert', 'openvino', "
        "'tensorflow') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
