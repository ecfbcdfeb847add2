"""The ONNX linter: a good file is clean, and each corruption of it breaks exactly the rule it should."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from qdq import TARGETS, Qdq, lint

from edgex.lint.onnx import RULES
from edgex.target import load_target

Corruption = Callable[[ModelProto], None]


def _node(model: ModelProto, name: str) -> NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def _set(model: ModelProto, name: str, array: np.ndarray) -> None:
    """Give an initializer another value."""
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(array), name))


def _insert_before(model: ModelProto, reader: str, node: NodeProto) -> None:
    model.graph.node.insert(list(model.graph.node).index(_node(model, reader)), node)


def _bypass(model: ModelProto, pair: str, *readers: str) -> None:
    """Let some nodes read a float value in place of its dequantized one."""
    for reader in readers:
        node = _node(model, reader)
        position = list(node.input).index(f"{pair}.dq")
        node.input[position] = pair


@pytest.mark.parametrize("name", TARGETS)
def test_a_good_file_is_clean_and_runs(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    model = Qdq(target).model(target.opset)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(None, {"input": np.ones((2, 8, 8, 3), np.float32)})
    assert np.isfinite(probabilities).all()
    assert lint(model, target, tmp_path) == {}


def _opset_24(model: ModelProto) -> None:
    model.opset_import[0].version = 24


def _foreign_domain(model: ModelProto) -> None:
    _node(model, "softmax").domain = "com.microsoft"


def _unknown_operator(model: ModelProto) -> None:
    _node(model, "stem.relu").op_type = "Mish"


def _zero_scale(model: ModelProto) -> None:
    scales = np.full(4, 0.01, np.float32)
    scales[2] = 0.0
    _set(model, "pointwise.kernel.scale", scales)


def _infinite_scale(model: ModelProto) -> None:
    _set(model, "flat.scale", np.float32(np.inf))


def _subnormal_scale(model: ModelProto) -> None:
    _set(model, "pointwise.kernel.scale", np.full(4, 1e-40, np.float32))


def _not_a_number(model: ModelProto) -> None:
    _set(model, "hidden.bias", np.array([0, np.nan, 0, 0, 0, 0], np.float32))


def _infinite_bias(model: ModelProto) -> None:
    _set(model, "hidden.bias", np.full(6, -np.inf, np.float32))


def _computed_scale(model: ModelProto) -> None:
    scale = "flat.scale"
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == scale)
    tensor.name = "flat.scale.constant"
    model.graph.node.insert(0, helper.make_node("Sqrt", [tensor.name], [scale], name="computes"))


def _other_zero_point_type(model: ModelProto) -> None:
    _set(model, "stem.kernel.zero", np.zeros(4, np.int32))


def _too_few_zero_points(model: ModelProto) -> None:
    _set(model, "stem.kernel.zero", np.zeros(3, np.int8))


def _unlike_pair(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.06), "other.scale"))
    _node(model, "stem.relu.dq").input[1] = "other.scale"


def _nonzero_zero_point(model: ModelProto) -> None:
    _set(model, "depthwise.zero", np.array(3, np.int8))


def _nonzero_weight_zero_point(model: ModelProto) -> None:
    _set(model, "depthwise.kernel.zero", np.array([0, 0, 1, 0], np.int8))


def _other_activation_type(model: ModelProto) -> None:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "depthwise.zero")
    byte = numpy_helper.to_array(tensor).dtype
    other = np.array(128, np.uint8) if byte == np.int8 else np.array(0, np.int8)
    _set(model, "depthwise.zero", other)


def _type_left_to_the_default(model: ModelProto) -> None:
    """Without a zero point, QuantizeLinear stores uint8 with zero point 0."""
    for name in ("depthwise.q", "depthwise.dq"):
        del _node(model, name).input[2]


def _activation_per_channel(model: ModelProto) -> None:
    _set(model, "depthwise.scale", np.full(4, 0.05, np.float32))
    zero = next(tensor for tensor in model.graph.initializer if tensor.name == "depthwise.zero")
    _set(model, "depthwise.zero", np.full(4, numpy_helper.to_array(zero)))


def _weights_uint8(model: ModelProto) -> None:
    _set(model, "pointwise.kernel.q", np.full((4, 4, 1, 1), 7, np.uint8))
    _set(model, "pointwise.kernel.zero", np.zeros(4, np.uint8))


def _per_tensor(model: ModelProto, name: str) -> None:
    _set(model, f"{name}.kernel.scale", np.float32(0.01))
    _set(model, f"{name}.kernel.zero", np.int8(0))


def _depthwise_per_tensor(model: ModelProto) -> None:
    _per_tensor(model, "depthwise")


def _dense_per_tensor(model: ModelProto) -> None:
    _per_tensor(model, "dense")


def _per_input_channel(model: ModelProto) -> None:
    _node(model, "pointwise.kernel").attribute[0].i = 1


def _transposed_dense(model: ModelProto) -> None:
    """(in, out) weights whose scales still run along axis 0; square, so that only the axis tells."""
    _set(model, "hidden.kernel.q", np.ones((4, 4), np.int8))
    _set(model, "hidden.kernel.scale", np.full(4, 0.01, np.float32))
    _set(model, "hidden.kernel.zero", np.zeros(4, np.int8))
    del _node(model, "hidden").attribute[:]


def _float_data(model: ModelProto) -> None:
    _bypass(model, "depthwise", "pointwise")


def _float_weights(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.ones((4, 1, 3, 3), np.float32), "plain"))
    _node(model, "depthwise").input[1] = "plain"


def _float_hidden_dense(model: ModelProto) -> None:
    _bypass(model, "flat", "hidden")


def _float_shortcut(model: ModelProto) -> None:
    _bypass(model, "stem.relu", "add")


def _float_branch(model: ModelProto) -> None:
    _bypass(model, "pointwise", "add")


def _integer_bias(model: ModelProto) -> None:
    for key, array in (("q", np.zeros(4, np.int32)), ("scale", np.full(4, 0.01, np.float32))):
        model.graph.initializer.append(numpy_helper.from_array(array, f"integer.{key}"))
    parts = ["integer.q", "integer.scale"]
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", parts, ["integer"], name="integer", axis=0))
    _node(model, "pointwise").input[2] = "integer"


def _bias_at_another_scale(model: ModelProto) -> None:
    _set(model, "pointwise.bias.scale", np.full(4, 0.01, np.float32))


def _pack(model: ModelProto, opset: int = 21) -> None:
    """Store pointwise weights as INT4, cast to INT8, as our writer does."""
    model.opset_import[0].version = opset
    weights, tensor = "pointwise.kernel.q", TensorProto(name="packed", dims=[4, 4, 1, 1], data_type=TensorProto.INT4)
    tensor.raw_data = bytes(8)
    (plain,) = (tensor for tensor in model.graph.initializer if tensor.name == weights)
    model.graph.initializer.remove(plain)
    model.graph.initializer.append(tensor)
    model.graph.node.insert(0, helper.make_node("Cast", ["packed"], [weights], name=weights, to=TensorProto.INT8))


def _packed_too_early(model: ModelProto) -> None:
    _pack(model, opset=17)


def _packed_per_input_channel(model: ModelProto) -> None:
    _pack(model)
    _per_input_channel(model)


def _packed_and_never_cast(model: ModelProto) -> None:
    """Runtimes would dequantize these weights at each run, and compute in float."""
    _pack(model)
    model.graph.node.remove(_node(model, "pointwise.kernel.q"))
    _node(model, "pointwise.kernel").input[0] = "packed"
    zero = next(tensor for tensor in model.graph.initializer if tensor.name == "pointwise.kernel.zero")
    zero.CopyFrom(helper.make_tensor(zero.name, TensorProto.INT4, [4], bytes(2), raw=True))


def _cast_to_float(model: ModelProto) -> None:
    _pack(model)
    _node(model, "pointwise.kernel.q").attribute[0].i = TensorProto.FLOAT
    _node(model, "pointwise").input[1] = "pointwise.kernel.q"
    model.graph.node.remove(_node(model, "pointwise.kernel"))


CORRUPTIONS = [
    ("jetson", _opset_24, "opset-within-limit", "model.onnx"),
    ("jetson", _foreign_domain, "operators-supported", "softmax"),
    ("x86", _foreign_domain, "operators-supported", "softmax"),
    ("jetson", _unknown_operator, "operators-supported", "stem.relu"),
    ("jetson", _zero_scale, "scales-positive", "pointwise.kernel"),
    ("jetson", _infinite_scale, "scales-positive", "flat.q"),
    ("jetson", _subnormal_scale, "scales-positive", "pointwise.kernel"),
    ("jetson", _not_a_number, "constants-finite", "hidden.bias"),
    ("jetson", _infinite_bias, "constants-finite", "hidden.bias"),
    ("jetson", _computed_scale, "scales-positive", "flat.dq"),
    ("x86", _other_zero_point_type, "zero-points-match", "stem.kernel"),
    ("x86", _too_few_zero_points, "zero-points-match", "stem.kernel"),
    ("jetson", _unlike_pair, "pairs-agree", "stem.relu.dq"),
    ("jetson", _nonzero_zero_point, "zero-points-zero", "depthwise.q"),
    ("gpu-desktop", _nonzero_weight_zero_point, "zero-points-zero", "depthwise.kernel"),
    ("arm", _other_activation_type, "activation-type", "depthwise.q"),
    ("x86", _other_activation_type, "activation-type", "depthwise.q"),
    ("jetson", _type_left_to_the_default, "activation-type", "depthwise.dq"),
    ("x86", _activation_per_channel, "activations-per-tensor", "depthwise.q"),
    ("jetson", _weights_uint8, "weights-int8", "pointwise"),
    ("x86", _packed_and_never_cast, "weights-int8", "pointwise"),
    ("x86", _packed_too_early, "int4-readable", "packed"),
    ("gpu-desktop", _packed_too_early, "int4-readable", "packed"),
    ("x86", _packed_per_input_channel, "weights-per-channel", "pointwise"),
    ("x86", _cast_to_float, "product-inputs-quantized", "pointwise"),
    ("jetson", _depthwise_per_tensor, "weights-per-channel", "depthwise"),
    ("jetson", _dense_per_tensor, "weights-per-channel", "dense"),
    ("jetson", _per_input_channel, "weights-per-channel", "pointwise"),
    ("jetson", _transposed_dense, "weights-per-channel", "hidden"),
    ("jetson", _float_data, "product-inputs-quantized", "pointwise"),
    ("x86", _float_weights, "product-inputs-quantized", "depthwise"),
    ("jetson", _float_hidden_dense, "product-inputs-quantized", "hidden"),
    ("jetson", _float_shortcut, "residuals-quantized", "add"),
    ("x86", _float_branch, "residuals-quantized", "add"),
    ("jetson", _integer_bias, "bias-float", "pointwise"),
    ("x86", _bias_at_another_scale, "bias-scale", "pointwise"),
]


@pytest.mark.parametrize(("name", "corrupt", "rule", "where"), CORRUPTIONS)
def test_a_corruption_breaks_exactly_its_rule(
    name: str, corrupt: Corruption, rule: str, where: str, tmp_path: Path
) -> None:
    model = Qdq(TARGETS[name]).model(TARGETS[name].opset)
    corrupt(model)
    found = lint(model, TARGETS[name], tmp_path)
    assert set(found) == {rule}
    assert where in found[rule]


@pytest.mark.parametrize("name", ["x86", "arm"])
def test_packed_weights_are_clean_where_runtimes_unpack_them(name: str, tmp_path: Path) -> None:
    model = Qdq(TARGETS[name]).model(TARGETS[name].opset)
    _pack(model)
    onnx.checker.check_model(model, full_check=True)
    assert lint(model, TARGETS[name], tmp_path) == {}


def test_tensorrt_gets_no_packed_weights_even_where_it_reads_the_opset(tmp_path: Path) -> None:
    target = load_target("jetson", jetpack="7.2")
    model = Qdq(target).model(target.opset)
    _pack(model)
    assert lint(model, target, tmp_path) == {"int4-readable": {"packed"}}


def test_every_rule_has_a_corruption() -> None:
    assert {rule.name for rule in RULES} == {rule for _, _, rule, _ in CORRUPTIONS}


def test_every_rule_says_in_one_sentence_what_it_wants() -> None:
    for rule in RULES:
        assert re.fullmatch(r"[^.]+\.", rule.check.__doc__ or ""), rule.name


def test_the_limit_is_that_of_the_jetpack(tmp_path: Path) -> None:
    model = Qdq(TARGETS["jetson"]).model(17)
    assert lint(model, load_target("jetson", jetpack="5.1.2"), tmp_path) == {}
    assert lint(model, load_target("jetson", jetpack="4.6.1"), tmp_path) == {"opset-within-limit": {"model.onnx"}}


def test_targets_differ_in_what_they_refuse(tmp_path: Path) -> None:
    model = Qdq(TARGETS["x86"]).model(17)
    assert set(lint(model, TARGETS["jetson"], tmp_path)) == {"zero-points-zero", "activation-type", "bias-float"}
    assert set(lint(model, TARGETS["arm"], tmp_path)) == {"activation-type"}


def test_the_last_dense_layer_may_stay_float(tmp_path: Path) -> None:
    model = Qdq(TARGETS["jetson"]).model(17)
    _bypass(model, "hidden", "dense")
    assert lint(model, TARGETS["jetson"], tmp_path) == {}


@pytest.mark.parametrize(("op_type", "found"), [("MaxPool", set()), ("Relu", {"product-inputs-quantized"})])
def test_a_dequantizer_acts_across_operators_that_only_move_bytes(
    op_type: str, found: set[str], tmp_path: Path
) -> None:
    model = Qdq(TARGETS["jetson"]).model(17)
    _insert_before(model, "pointwise", helper.make_node(op_type, ["depthwise.dq"], ["between"], name="between"))
    _node(model, "pointwise").input[0] = "between"
    assert set(lint(model, TARGETS["jetson"], tmp_path)) == found


@pytest.mark.parametrize(
    ("reader", "bypassed", "broken"),
    [
        ("pointwise", "depthwise", {"product-inputs-quantized": {"pointwise"}}),
        ("add", "pointwise", {"residuals-quantized": {"add"}}),
    ],
)
def test_nodes_that_the_user_kept_float_are_excused(
    reader: str, bypassed: str, broken: dict[str, set[str]], tmp_path: Path
) -> None:
    model = Qdq(TARGETS["jetson"]).model(17)
    _bypass(model, bypassed, reader)
    assert lint(model, TARGETS["jetson"], tmp_path) == broken
    assert lint(model, TARGETS["jetson"], tmp_path, allow_float=f"^{reader}$") == {}
    assert lint(model, TARGETS["jetson"], tmp_path, allow_float="^stem$") == broken


def test_an_activation_excuses_what_it_runs_inside_of(tmp_path: Path) -> None:
    model = Qdq(TARGETS["jetson"]).model(17)
    _bypass(model, "input.nchw", "stem")
    assert lint(model, TARGETS["jetson"], tmp_path) == {"product-inputs-quantized": {"stem"}}
    assert lint(model, TARGETS["jetson"], tmp_path, allow_float=r"^stem\.relu$") == {}
    model.graph.node.append(helper.make_node("Sigmoid", ["stem"], ["other"]))  # now it runs on its own
    assert lint(model, TARGETS["jetson"], tmp_path, allow_float=r"^stem\.relu$") != {}


def _quantize_weights_in_the_file(model: ModelProto) -> None:
    """Pointwise weights as float, behind a QuantizeLinear as well, as training tools write them."""
    model.graph.initializer.append(numpy_helper.from_array(np.ones((4, 4, 1, 1), np.float32), "plain"))
    parts = ["plain", "pointwise.kernel.scale", "pointwise.kernel.zero"]
    quantize = helper.make_node("QuantizeLinear", parts, ["plain.q"], name="plain.q", axis=0)
    model.graph.node.insert(0, quantize)
    _node(model, "pointwise.kernel").input[0] = "plain.q"


def test_weights_may_be_quantized_by_the_file_itself(tmp_path: Path) -> None:
    model = Qdq(TARGETS["jetson"]).model(17)
    _quantize_weights_in_the_file(model)
    assert lint(model, TARGETS["jetson"], tmp_path) == {}
    _per_tensor(model, "pointwise")
    assert lint(model, TARGETS["jetson"], tmp_path) == {"weights-per-channel": {"pointwise"}}


def test_weights_come_straight_from_their_dequantizer(tmp_path: Path) -> None:
    model = Qdq(TARGETS["jetson"]).model(17)
    _insert_before(model, "pointwise", helper.make_node("Transpose", ["pointwise.kernel"], ["turned"]))
    _node(model, "pointwise").input[1] = "turned"
    assert lint(model, TARGETS["jetson"], tmp_path) == {"product-inputs-quantized": {"pointwise"}}
