"""An ONNX file that the graph cannot hold is refused, and the message names the node."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from graphs import tiny_xception
from onnx_files import BATCH_NORM, CHANNELS, RANDOM, Made, after_stem, computed_size, node, save, weights, whole
from onnx_support import min_max_plan

from edgex.errors import ModelError
from edgex.graph.read_onnx import read_onnx
from edgex.write.onnx import onnx_model


def test_what_is_quantized_already(tmp_path: Path) -> None:
    graph = tiny_xception()
    images = RANDOM.uniform(-1, 1, (4, 32, 32, 3)).astype(np.float32)
    content = onnx_model(graph, min_max_plan(graph, images)).SerializeToString()
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="quantized already"):
        read_onnx(tmp_path / "model.onnx")


def doubled() -> Made:
    """A constant of 2 ** 40 numbers."""
    nodes = [node("Concat", [f"c{n}", f"c{n}"], [f"c{n + 1}"], axis=0) for n in range(40)]
    return [*nodes, node("Reshape", ["image", "c40"], ["result"])], {"c0": whole(1)}


def chosen_over_and_over() -> Made:
    """A constant of 10 ** 10 numbers."""
    nodes = [node("Gather", ["c", "i"], ["many"]), node("Reshape", ["image", "many"], ["result"])]
    return nodes, {"c": np.zeros((1, 100_000), np.int64), "i": np.zeros(100_000, np.int64)}


def changed(operator: str, **attributes: Any) -> Made:
    return after_stem(node(operator, ["x"], ["result"], name="odd", **attributes))


REFUSED: dict[str, tuple[Made, str]] = {
    "unknown": (changed("Cos"), "'odd' is a Cos, which edgex does not support"),
    "softmax of rows": (changed("Softmax", axis=2), "'odd' .* has an axis that is not that of the channels"),
    "mixed axes": (changed("Transpose", perm=[1, 0, 2, 3]), "'odd' .* has the order"),
    "dilated pool": (changed("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]), "'odd' .* has dilations"),
    "no kernel": (([node("Conv", ["image"], ["result"], name="odd")], {}), "'odd' .* has no constant as input 1"),
    "infinite": (
        ([node("Conv", ["image", "w"], ["result"], name="odd")], {"w": np.full((8, CHANNELS, 3, 3), np.inf, "f4")}),
        "'odd' hold NaN or infinity",
    ),
    "vast in float32": (
        ([node("Conv", ["image", "w"], ["result"], name="odd")], {"w": np.full((8, CHANNELS, 3, 3), 1e300)}),
        "'odd' hold NaN or infinity",
    ),
    "wrong channels": (
        ([node("Conv", ["image", "w"], ["result"], name="odd")], {"w": weights(8, 5, 3, 3)}),
        "'odd' .* does not fit",
    ),
    "doubled": (doubled(), "1024 numbers to compute a constant from"),
    "chosen over and over": (chosen_over_and_over(), "10000000000 numbers to compute a constant from"),
    "corners aligned": (
        after_stem(
            node(
                "Resize",
                ["x", "", "s"],
                ["result"],
                name="odd",
                mode="linear",
                coordinate_transformation_mode="align_corners",
            ),
            s=np.array([1, 1, 2, 2], np.float32),
        ),
        "'odd' .* has the mode 'linear' of the coordinates 'align_corners'",
    ),
    "a factor of no whole pixels": (
        after_stem(node("Resize", ["x", "", "s"], ["result"], name="odd"), s=np.array([1, 1, 1.5, 2], np.float32)),
        "'odd' .* has factors that make",
    ),
    "other channels than there were": (
        after_stem(node("Resize", ["x", "", "s"], ["result"], name="odd"), s=np.array([1, 2, 2, 2], np.float32)),
        "'odd' .* has axes other than height and width",
    ),
    "a size beyond any image": (
        after_stem(node("Resize", ["x", "", "", "n"], ["result"], name="odd"), n=whole(1, 8, 1 << 40, 8)),
        "'odd' .* its size is",
    ),
    "log-softmax": (changed("LogSoftmax"), r"'odd' is a LogSoftmax, .*\n.*gives the same classes"),
    "other sums": (
        after_stem(node("Transpose", ["x"], ["t"], perm=[0, 1, 3, 2]), node("Add", ["x", "t"], ["result"], name="odd")),
        "'odd' .* has inputs with their axes in different orders",
    ),
    "as many pixels as images": (computed_size(of=0), "'a' .* has the number of images as its input"),
    "divided by zero": (computed_size(0), "'b' .* divides by zero"),
    "clip to nothing": (
        after_stem(node("Clip", ["x", "low", "low"], ["result"], name="odd"), low=np.array(1, np.float32)),
        "'odd' .* has bounds of 1 and 1",
    ),
    "clip far from 0": (
        after_stem(node("Clip", ["x", "low"], ["result"], name="odd"), low=np.array(-65504, "f4")),
        "'odd' .* has bounds of -65504 and inf",
    ),
    "gated by another order": (
        after_stem(
            node("Transpose", ["x"], ["t"], perm=[0, 1, 3, 2]),
            node("Sigmoid", ["t"], ["s"]),
            node("Mul", ["x", "s"], ["result"], name="odd"),
        ),
        "'odd' .* has inputs with their axes in different orders",
    ),
    "too few biases": (
        (
            [node("Conv", ["image", "w", "b"], ["result"], name="odd")],
            {"w": weights(8, CHANNELS, 3, 3), "b": weights(3)},
        ),
        r"'odd' .* bias is of the shape \(3,\), for 8 channels",
    ),
    "uneven groups": (
        ([node("Conv", ["image", "w"], ["result"], name="odd", group=2)], {"w": weights(5, CHANNELS // 2, 3, 3)}),
        "'odd' .* 5 outputs are not as many in each of 2 groups",
    ),
    "an empty kernel": (
        ([node("Conv", ["image", "w"], ["result"], name="odd")], {"w": weights(8, CHANNELS, 0, 0)}),
        "'odd' .* has no number in input 1",
    ),
    "dropout in training": (
        after_stem(node("Dropout", ["x", "r", "t"], ["result"], name="odd"), r=np.array(0.5, "f4"), t=np.array(True)),
        "'odd' .* has training_mode",
    ),
    "an axis before the images'": (
        after_stem(node("Unsqueeze", ["x", "axes"], ["result"], name="odd"), axes=whole(0)),
        "'odd' .* has an axis before that of the images",
    ),
    "other pixels than the nearest": (
        after_stem(node("Gather", ["x", "rows"], ["result"], name="odd", axis=2), rows=whole(0, 1, 2)),
        "'odd' .* has a choice of pixels that are not the nearest",
    ),
    "pixels that there are not": (
        after_stem(node("Gather", ["x", "rows"], ["result"], name="odd", axis=2), rows=np.arange(9) + 9),
        "'odd' .* has a choice of pixels that are not the nearest",
    ),
    "nothing put together": (
        ([node("Concat", [], ["result"], name="odd", axis=0)], {}),
        "'odd' .* no constant as input 0",
    ),
    "the nearest from below": (
        after_stem(
            node("Resize", ["x", "", "s"], ["result"], name="odd", nearest_mode="floor"),
            s=np.array([1, 1, 3, 3], np.float32),
        ),
        "'odd' .* has the mode 'nearest'",
    ),
    "height and width exchanged": (
        changed("Transpose", perm=[0, 1, 3, 2]),
        r"output 'result' has its axes in the order",
    ),
    "made twice": (
        after_stem(node("Relu", ["x"], ["x"], name="odd"), node("Relu", ["x"], ["result"])),
        "makes 'x' twice",
    ),
    "nothing but the image": (([node("Identity", ["image"], ["result"])], {}), "output 'result' is its input"),
    "large or not": (
        after_stem(node("Greater", ["x", "two"], ["result"], name="odd"), two=np.array(2, np.float32)),
        "'odd' .* has a use other than softplus",
    ),
    "erf alone": (changed("Erf"), "'odd' .* has a use other than GELU"),
    "of nothing": (([node("Relu", ["nowhere"], ["result"])], {}), "reads 'nowhere'"),
    "a constant": (
        ([node("Identity", ["w"], ["result"])], {"w": weights(3)}),
        "output 'result' is not computed from the image",
    ),
    "other domain": (([node("Relu", ["image"], ["result"], domain="com.x", name="odd")], {}), "'odd' is a Relu of com"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_by_name(tmp_path: Path, name: str) -> None:
    made, message = REFUSED[name]
    with pytest.raises(ModelError, match=message):
        read_onnx(save(tmp_path / "model.onnx", made))


def test_a_softmax_over_more_than_channels(tmp_path: Path) -> None:
    """As it was before opset 13: over all axes from the one that is said."""
    made = after_stem(node("Softmax", ["x"], ["result"], axis=1, name="odd"))
    with pytest.raises(ModelError, match=r"'odd' .* has more axes than that of the channels"):
        read_onnx(save(tmp_path / "model.onnx", made, opset=11))


def test_swish_with_a_factor(tmp_path: Path) -> None:
    made = after_stem(node("Swish", ["x"], ["result"], alpha=1.702, name="odd"))
    with pytest.raises(ModelError, match=r"'odd' .* has the factor 1\.702"):
        read_onnx(save(tmp_path / "model.onnx", made, opset=24))


def test_an_output_that_is_another(tmp_path: Path) -> None:
    path = save(tmp_path / "model.onnx", after_stem(node("Identity", ["x"], ["y"]), node("Relu", ["x"], ["result"])))
    model = onnx.load(path)
    for name in ("x", "y"):
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="outputs 'x' and 'y' are the same"):
        read_onnx(path)


def test_names_only_stand_there(tmp_path: Path) -> None:
    """And move no terminal's cursor."""
    path = save(tmp_path / "model.onnx", after_stem(node("Relu", ["x"], ["result"], name="\x1b[31mred")))
    assert [each.name for each in read_onnx(path).nodes] == ["image", "x", "result"]
    path = save(
        tmp_path / "model.onnx",
        after_stem(node("Relu", ["x"], ["r"], name="\x1b[31mred"), node("Relu", ["r"], ["result"])),
    )
    assert "_[31mred" in read_onnx(path)


def test_half_precision_is_said(tmp_path: Path) -> None:
    nodes = [node("Cast", ["half"], ["w"], to=1), node("Conv", ["image", "w"], ["result"])]
    path = save(tmp_path / "model.onnx", (nodes, {"half": weights(8, CHANNELS, 3, 3).astype(np.float16)}))
    assert read_onnx(path).notes == ("The model has float16 values; they are read as float32.",)


def test_an_old_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="opset"):
        read_onnx(save(tmp_path / "model.onnx", BATCH_NORM, opset=6))


def test_what_is_no_onnx(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(ModelError, match=r"model\.onnx"):
        read_onnx(tmp_path / "model.onnx")


def test_weights_in_another_file(tmp_path: Path) -> None:
    """As torch.onnx.export leaves them, unless it is told not to."""
    path = save(tmp_path / "model.onnx", BATCH_NORM)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="model.onnx.data", size_threshold=0)
    with pytest.raises(ModelError, match=r"another file.*\n.*torch\.onnx\.export: external_data=False"):
        read_onnx(path)


Spoil = Callable[[onnx.ModelProto], object]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda model: model.graph.initializer[0].ClearField("raw_data"),
        lambda model: model.graph.initializer[0].dims.append(1 << 40),
        lambda model: model.graph.input[0].ClearField("type"),
        lambda model: model.graph.node[0].attribute[0].ints.append(-5),
        lambda model: model.graph.ClearField("output"),
    ],
)
def test_what_is_damaged(tmp_path: Path, spoil: Spoil) -> None:
    path = save(tmp_path / "model.onnx", BATCH_NORM)
    model = onnx.load(path)
    spoil(model)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"model\.onnx"):
        read_onnx(path)
