"""What the integers at the ends of a file from elsewhere stand for."""

from pathlib import Path

import numpy as np
import pytest
from foreign import save_onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edgex.plan import QuantizationParameters
from edgex.runtime import open_runner
from edgex.runtime.integer_ends import Ends, onnx_ends

STEP = np.float32(0.5)
CONSTANTS = {
    "scale": STEP,
    "vector": np.full(1, STEP, np.float32),
    "scales": np.full(3, STEP, np.float32),
    "three": np.int8(3),
    "zeros": np.zeros(3, np.int8),
    "shape": np.array([-1, 3]),
}


def save(path: Path, *nodes: NodeProto) -> Path:
    """A file of nodes from ``input`` to ``output``, both of int8."""
    ends = [helper.make_tensor_value_info(name, TensorProto.INT8, ["N", 3]) for name in ("input", "output")]
    constants = [numpy_helper.from_array(np.asarray(array), name) for name, array in CONSTANTS.items()]
    return save_onnx(path, helper.make_graph(list(nodes), "ends", ends[:1], ends[1:], constants))


def between(*parameters: str, axis: int = 1) -> tuple[NodeProto, NodeProto]:
    """Dequantizes the input and quantizes it again."""
    return (
        helper.make_node("DequantizeLinear", ["input", *parameters], ["real"], axis=axis),
        helper.make_node("QuantizeLinear", ["real", *parameters], ["output"], axis=axis),
    )


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (("scale", "three"), QuantizationParameters(STEP, 3)),
        (("vector", "three"), QuantizationParameters(STEP, 3)),
        (("scale",), QuantizationParameters(STEP, 0)),
        (("scale", ""), QuantizationParameters(STEP, 0)),
        (("scales", "zeros"), None),
        (("computed", "three"), None),
    ],
)
def test_parameters(parameters: tuple[str, ...], expected: QuantizationParameters | None, tmp_path: Path) -> None:
    path = save(tmp_path / "ends.onnx", *between(*parameters))
    assert onnx_ends(path, "input", "output") == Ends(expected, expected)


def test_layout_is_seen_through(tmp_path: Path) -> None:
    first, last = between("scale", "three")
    first.input[0], last.output[0] = "turned", "flat"
    turn = helper.make_node("Transpose", ["input"], ["turned"], perm=[0, 1])
    flatten = helper.make_node("Reshape", ["flat", "shape"], ["output"])
    path = save(tmp_path / "ends.onnx", turn, first, last, flatten)
    assert onnx_ends(path, "input", "output") == Ends(*2 * [QuantizationParameters(STEP, 3)])


def test_a_circle_has_no_ends(tmp_path: Path) -> None:
    circle = [helper.make_node("Identity", [name], [name]) for name in ("input", "output")]
    assert onnx_ends(save(tmp_path / "ends.onnx", *circle), "input", "output") == Ends(None, None)


def test_a_runner_takes_integers_without_a_zero_point(tmp_path: Path) -> None:
    first, _ = between("scale")
    last = helper.make_node("QuantizeLinear", ["real", "scale", "three"], ["output"])
    images = np.array([[-1.0, 0.0, 2.5]], np.float32)
    with open_runner(save(tmp_path / "ends.onnx", first, last), threads=1) as runner:
        np.testing.assert_array_equal(runner.run(images), images)
