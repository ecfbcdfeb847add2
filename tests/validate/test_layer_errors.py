"""Error by layer: against tensors computed one by one, growing where a layer is spoiled."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from foreign import save_identity
from graphs import tiny_xception
from onnx_support import named
from reference import reference, sqnr

from edgex.errors import ModelError, UsageError
from edgex.graph.ir import Graph
from edgex.plan import PLAN_SCHEMA, QuantizationPlan
from edgex.quantize.ptq import PtqOptions, quantize_ptq
from edgex.report import LayerError
from edgex.validate.layer_errors import layer_errors
from edgex.write.onnx import OnnxForm, onnx_model

GRAPH = tiny_xception()
IMAGES = np.random.default_rng(0).uniform(-1, 1, (6, 32, 32, 3)).astype(np.float32)
STORED = (
    *("block1_conv1_act", "block1_conv2_act", "conv2d", "block2_sepconv1.depthwise", "block2_sepconv2_act"),
    *("block2_sepconv2.depthwise", "block2_sepconv2.pointwise", "block2_pool", "add", "block3_sepconv1_act"),
    *("block3_sepconv1.depthwise", "block3_sepconv2_act", "block3_sepconv2.depthwise", "block3_sepconv2.pointwise"),
    *("add_1", "block14_sepconv1.depthwise", "block14_sepconv1_act", "avg_pool", "predictions"),
)


def written(
    folder: Path, spoiled: str = "", *, given: Graph = GRAPH, equalize: bool = False, integer_io: bool = False
) -> tuple[Path, Path]:
    """The float file, and the INT8 one of ``given``, whose layer ``spoiled`` has weights that are a tenth off."""
    options = PtqOptions("asymmetric", "minmax", equalize=equalize, integer_io=integer_io)
    result = quantize_ptq(given, named(IMAGES), options)
    graph = result.graph
    if spoiled:
        node = graph[spoiled]
        graph = graph.rewrite({spoiled: [node.with_params(kernel=1.1 * node.params["kernel"])]})
    (folder / "plan.json").write_text(result.plan.to_json())
    return (
        save(folder / "m.fp32.onnx", GRAPH, None),
        save(folder / "m.int8.onnx", graph, result.plan, OnnxForm(integer_io=integer_io)),
    )


def save(path: Path, graph: Graph, plan: QuantizationPlan | None, form: OnnxForm | None = None) -> Path:
    onnx.save(onnx_model(graph, plan, form), path)
    return path


def ratios(fp32: Path, int8: Path) -> dict[str, float]:
    found = layer_errors(fp32, int8, [IMAGES[:2], IMAGES[2:]], threads=1)
    assert all(isinstance(each, LayerError) for each in found)
    return {each.layer: each.snr_db for each in found}


def test_every_stored_tensor_has_a_ratio_in_the_order_of_the_network(tmp_path: Path) -> None:
    assert tuple(ratios(*written(tmp_path))) == STORED


def test_ratios_are_those_of_tensors_computed_one_by_one(tmp_path: Path) -> None:
    import onnxruntime

    fp32, int8 = written(tmp_path)
    found, expected = ratios(fp32, int8), reference(GRAPH, IMAGES)
    plain = onnxruntime.SessionOptions()
    plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    for name in ("block1_conv1_act", "block2_pool", "add_1", "avg_pool", "predictions"):
        model = onnx.load(int8)
        del model.graph.output[:]
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        session = onnxruntime.InferenceSession(model.SerializeToString(), plain)
        (values,) = session.run(None, {"input": IMAGES})
        images = values.transpose(0, 2, 3, 1) if values.ndim == 4 else values
        assert found[name] == pytest.approx(sqnr(images, expected[name]), abs=0.3), name


def test_a_spoiled_layer_shows_from_there_on(tmp_path: Path) -> None:
    (tmp_path / "spoiled").mkdir()
    well, ill = ratios(*written(tmp_path)), ratios(*written(tmp_path / "spoiled", "block3_sepconv1.pointwise"))
    lost = {name: well[name] - ill[name] for name in STORED}
    place = STORED.index("block3_sepconv2_act")
    assert max(abs(lost[name]) for name in STORED[:place]) < 0.01
    assert lost["block3_sepconv2_act"] > 10
    assert all(lost[name] > 0.5 for name in STORED[place:])


def test_equalized_tensors_are_left_out(tmp_path: Path) -> None:
    fp32, int8 = written(tmp_path, equalize=True)
    names = tuple(ratios(fp32, int8))
    assert names == tuple(name for name in STORED if not name.endswith(".depthwise"))
    plan = tmp_path / "plan.json"
    document = json.loads(plan.read_text())
    document["calibration"]["equalized"] = []
    plan.write_text(json.dumps(document))
    assert min(ratios(fp32, int8).values()) < 10, "they cannot be compared"


def test_integer_ends_change_nothing_between(tmp_path: Path) -> None:
    (tmp_path / "integer").mkdir()
    floats, integers = ratios(*written(tmp_path)), ratios(*written(tmp_path / "integer", integer_io=True))
    assert integers == pytest.approx({name: floats[name] for name in integers}, abs=0.01)
    assert set(STORED) - integers.keys() <= {"predictions"}


def test_equal_tensors_have_no_ratio(tmp_path: Path) -> None:
    _, int8 = written(tmp_path)
    assert ratios(int8, int8) == {}


def test_files_from_elsewhere_have_none(tmp_path: Path) -> None:
    fp32, int8 = written(tmp_path)
    other = save_identity(tmp_path / "other.onnx", (1, 32, 32, 3))
    assert ratios(fp32, other) == {}
    assert ratios(other, int8) == {}
    (tmp_path / "plan.json").unlink()
    assert ratios(fp32, int8) == {}


def test_tensors_that_pruning_has_narrowed_are_left_out(tmp_path: Path) -> None:
    """Half of the channels between the two separable convolutions of block 3 are gone."""
    maker, depthwise, reader = (
        GRAPH[f"block3_sepconv{half}"] for half in ("1.pointwise", "2.depthwise", "2.pointwise")
    )
    narrow = {
        maker.name: [maker.with_params(kernel=maker.params["kernel"][..., :12], bias=maker.params["bias"][:12])],
        depthwise.name: [depthwise.with_params(kernel=depthwise.params["kernel"][:, :, :12])],
        reader.name: [reader.with_params(kernel=reader.params["kernel"][:, :, :12])],
    }
    found = ratios(*written(tmp_path, given=GRAPH.rewrite(narrow)))
    assert set(STORED) - found.keys() == {"block3_sepconv2_act", "block3_sepconv2.depthwise"}


@pytest.mark.parametrize(
    "text",
    ["{", "[" * 100_000, json.dumps({"schema": PLAN_SCHEMA, "calibration": []})],
    ids=["cut", "endless", "of lists"],
)
def test_a_damaged_plan_is_refused(tmp_path: Path, text: str) -> None:
    fp32, int8 = written(tmp_path)
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(UsageError, match=r"plan\.json is not a quantization plan"):
        ratios(fp32, int8)


def test_a_plan_that_equalized_no_list_is_refused(tmp_path: Path) -> None:
    fp32, int8 = written(tmp_path)
    document = json.loads((tmp_path / "plan.json").read_text())
    document["calibration"]["equalized"] = 5
    (tmp_path / "plan.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match="are no list"):
        ratios(fp32, int8)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    fp32, int8 = written(tmp_path)
    int8.write_bytes(int8.read_bytes()[:100])
    with pytest.raises(ModelError, match=r"m\.int8\.onnx"):
        ratios(fp32, int8)
