"""An ONNX file reaches for no other file unless asked, and then only for plain ones beside itself."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from foreign import OPSET, save_identity, save_onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgex.errors import ModelError, OutputError
from edgex.model_file import check_model_file, read_onnx
from edgex.runtime import Worker, open_runner
from edgex.runtime.memory import peak_memory

RUNTIMES = ("onnxruntime", "openvino")
WEIGHTS = np.arange(9, dtype=np.float32).reshape(3, 3)
IMAGES = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
ENDS = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in ("input", "output")]


@pytest.fixture(autouse=True)
def _needs_runtime(request: pytest.FixtureRequest) -> None:
    call = getattr(request.node, "callspec", None)
    if call is not None and call.params.get("runtime") == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is an extra")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Has the weights in ``weights.bin``, and much that is not a plain file in it."""
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    for place in (folder / "weights.bin", folder / "inner" / "weights.bin", tmp_path / "secret.bin"):
        place.write_bytes(WEIGHTS.tobytes())
    (folder / "link.bin").symlink_to("weights.bin")
    (folder / "linked").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(folder / "pipe.bin")
    return folder


def outside(**entries: str) -> TensorProto:
    """The weights, kept where ``entries`` say."""
    tensor = TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=WEIGHTS.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def save_product(folder: Path, weights: TensorProto) -> Path:
    """A file whose output is its input times ``weights``."""
    product = helper.make_node("MatMul", ["input", "weights"], ["output"])
    return save_onnx(folder / "model.onnx", helper.make_graph([product], "product", ENDS[:1], ENDS[1:], [weights]))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_another_file_is_read_only_on_request(runtime: str, folder: Path) -> None:
    path = save_product(folder, outside(location="weights.bin", offset="0", length="36"))
    with pytest.raises(ModelError, match=r"'weights' in 'weights\.bin', another file\.\n.*--external-data"):
        open_runner(path, runtime=runtime, threads=1)
    with open_runner(path, runtime=runtime, threads=1, external_data=True) as runner:
        np.testing.assert_allclose(runner.run(IMAGES), IMAGES @ WEIGHTS, rtol=1e-5, atol=1e-6)


PLACES = (
    *("../secret.bin", "/etc/hostname", "linked/secret.bin", "inner/weights.bin"),
    *("link.bin", "pipe.bin", "inner", "missing.bin", "./weights.bin", "", ".", "..", "a" * 300, "weights.bin\0"),
)


@pytest.mark.parametrize("location", PLACES)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_only_plain_files_beside(runtime: str, location: str, folder: Path) -> None:
    path = save_product(folder, outside(location=location))
    with pytest.raises(ModelError, match="which is not a plain file in its own folder"):
        open_runner(path, runtime=runtime, threads=1, external_data=True)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_absolute_path_into_the_folder(runtime: str, folder: Path) -> None:
    path = save_product(folder, outside(location=str(folder / "weights.bin")))
    with pytest.raises(ModelError, match="which is not a plain file in its own folder"):
        open_runner(path, runtime=runtime, threads=1, external_data=True)


@pytest.mark.parametrize(
    ("entries", "fault"),
    [
        ({"offset": "4", "length": "36"}, "beyond its end"),
        ({"length": "37"}, "beyond its end"),
        ({"offset": "37"}, "beyond its end"),
        ({"offset": "37", "length": "0"}, "beyond its end"),
        ({"length": str(1 << 60)}, "no number"),
        ({"offset": "-4", "length": "36"}, "no number"),
        ({"offset": "0x4"}, "no number"),
        ({"offset": ""}, "no number"),
        ({"offset": "٤"}, "no number"),
        ({"basepath": "/etc"}, "ONNX does not have"),
    ],
)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_only_bytes_of_the_file(runtime: str, entries: dict[str, str], fault: str, folder: Path) -> None:
    path = save_product(folder, outside(location="weights.bin", **entries))
    with pytest.raises(ModelError, match=fault):
        open_runner(path, runtime=runtime, threads=1, external_data=True)


def test_a_part_of_the_file_may_be_the_rest(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(bytes(64) + WEIGHTS.tobytes())
    path = save_product(folder, outside(location="weights.bin", offset="64"))
    with open_runner(path, threads=1, external_data=True) as runner:
        np.testing.assert_allclose(runner.run(IMAGES), IMAGES @ WEIGHTS, rtol=1e-5, atol=1e-6)


def test_runtimes_do_not_choose_between_two_places(folder: Path) -> None:
    tensor = outside(location="weights.bin")
    tensor.external_data.add(key="location", value="../secret.bin")
    with pytest.raises(ModelError, match="there twice"):
        read_onnx(save_product(folder, tensor), external_data=True)


def test_more_than_a_tensor_can_have(folder: Path) -> None:
    with (folder / "weights.bin").open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(ModelError, match="more bytes than a tensor can have"):
        read_onnx(save_product(folder, outside(location="weights.bin")), external_data=True)


def _in_a_node(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["constant"], value=outside(location="weights.bin")))


def _in_a_list(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("Custom", [], ["custom"], values=[outside(location="weights.bin")]))


def _in_a_graph_of_a_node(model: ModelProto) -> None:
    graph = helper.make_graph([], "then", [], [], [outside(location="weights.bin")])
    model.graph.node.append(helper.make_node("If", ["condition"], ["chosen"], then_branch=graph, else_branch=graph))


def _in_a_sparse_tensor(model: ModelProto) -> None:
    model.graph.sparse_initializer.add().indices.CopyFrom(outside(location="weights.bin"))


def _in_a_function(model: ModelProto) -> None:
    node = helper.make_node("Constant", [], ["constant"], value=outside(location="weights.bin"))
    model.functions.append(helper.make_function("own", "Own", [], ["constant"], [node], [OPSET]))


def _in_a_plan_for_training(model: ModelProto) -> None:
    model.training_info.add().algorithm.initializer.append(outside(location="weights.bin"))


def _without_saying_so(model: ModelProto) -> None:
    model.graph.initializer.append(outside(location="weights.bin"))
    model.graph.initializer[0].ClearField("data_location")


HIDDEN = (
    *(_in_a_node, _in_a_list, _in_a_graph_of_a_node, _in_a_sparse_tensor),
    *(_in_a_function, _in_a_plan_for_training, _without_saying_so),
)


@pytest.mark.parametrize("hide", HIDDEN)
def test_no_tensor_is_overlooked(hide: Callable[[ModelProto], None], tmp_path: Path) -> None:
    path = save_identity(tmp_path / "model.onnx", [1, 3])
    read_onnx(path)
    model = onnx.load(path)
    hide(model)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="another file"):
        read_onnx(path)


def test_no_way_to_a_runtime_leads_around(folder: Path) -> None:
    path = save_product(folder, outside(location="weights.bin"))
    with Worker() as worker, pytest.raises(ModelError, match="another file"):
        worker.compile(path, "onnxruntime", folder / "compiled.onnx")
    with pytest.raises(ModelError, match="another file"):
        peak_memory(path, "onnxruntime", 1, IMAGES[:1])
    assert not (folder / "compiled.onnx").exists()


def test_a_file_that_changed_is_looked_at_again(folder: Path) -> None:
    path = save_product(folder, numpy_helper.from_array(WEIGHTS, "weights"))
    check_model_file(path)
    check_model_file(path)
    save_product(folder, outside(location="weights.bin"))
    with pytest.raises(ModelError, match="another file"):
        check_model_file(path)


@pytest.mark.parametrize("name", ["model.onnx", "model.tflite"])
def test_what_is_no_plain_file(name: str, tmp_path: Path) -> None:
    for make in (os.mkfifo, os.mkdir):
        make(tmp_path / name)
        with pytest.raises(OutputError, match="is not a file"):
            check_model_file(tmp_path / name)
        (tmp_path / name).rename(tmp_path / f"old-{make.__name__}")
    with pytest.raises(OutputError, match="No such file"):
        check_model_file(tmp_path / name)
    with (tmp_path / name).open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(ModelError, match="no model file has more"):
        check_model_file(tmp_path / name)
