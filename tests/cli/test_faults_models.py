"""Rows 1 to 15 of the faults to survive: damaged and unusual models. The numbers are those of the rows; hostile files
are in test_faults_hostile, odd numbers in test_faults_numbers.

What is refused leaves nothing behind, and runs nothing that a file says.
"""

import json
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from command import edgex, refused
from spoilt_demo import FEW, REFUSED, demo_with, layer, quantized, refused_cleanly

from edgex.errors import ExitCode
from edgex.resources import demo_model, targets_dir
from edgex.runtime import open_runner


def scores(path: Path, images: Any) -> Any:
    with open_runner(path, threads=1) as runner:
        return runner.run(images)


@pytest.fixture(scope="module")
def images() -> Any:
    return np.random.default_rng(0).uniform(-1, 1, (7, 16, 16, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def keras() -> Any:
    module = pytest.importorskip("keras", reason="Keras makes the models of these rows")
    module.utils.set_random_seed(0)
    return module


def body(keras: Any, tensor: Any) -> Any:
    tensor = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(tensor)
    return keras.layers.GlobalAveragePooling2D()(keras.layers.SeparableConv2D(12, 3, activation="relu")(tensor))


def test_1_truncated(folder: Path) -> None:
    model = folder / "cut.keras"
    model.write_bytes(demo_model().read_bytes()[:-20_000])
    refused_cleanly(model, "damaged", "model.save")
    arguments = ("quantize", model.name, "--target", "cpu", *FEW)
    imports = edgex(*arguments, cwd=folder, PYTHONPROFILEIMPORTTIME="1").err
    assert re.search(r"\| +edgex\.pipeline$", imports, re.MULTILINE)
    assert not re.search(r"\| +(ai_edge_litert|h5py|onnx|onnxruntime|tensorflow)$", imports, re.MULTILINE)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89HDF\r\n\x1a\n" + bytes(200), "HDF5"),
        (pickle.dumps({"layers": []}), "pickle"),
        (b"a note\n", "text"),
    ],
)
def test_2_something_else_renamed(folder: Path, content: bytes, kind: str) -> None:
    (folder / "model.keras").write_bytes(content)
    refused_cleanly(folder / "model.keras", kind)


def test_3_lambda_layer(folder: Path, keras: Any) -> None:
    canary = folder / "canary"
    image = keras.Input((16, 16, 3))
    run = f"[x, open({str(canary)!r}, 'w').close()][0]"
    function = eval(f"lambda x: {run}")
    model = keras.Model(
        image, keras.layers.Dense(10)(body(keras, keras.layers.Lambda(function, name="wrapped")(image)))
    )
    canary.unlink()
    model.save(folder / "model.keras")
    refused_cleanly(folder / "model.keras", "'wrapped'", "Lambda")
    assert not canary.exists()


def test_3_payloads_in_the_configuration(folder: Path) -> None:
    canary = folder / "canary"

    def callable_activation(document: Any) -> None:
        layer(document, "block1_conv1")["config"]["activation"] = {
            "module": "os",
            "class_name": "function",
            "config": "system",
            "registered_name": "system",
        }

    def dead_node(document: Any) -> None:
        payload = {
            "module": "keras.layers",
            "class_name": "Lambda",
            "name": "dead",
            "config": {
                "name": "dead",
                "function": {"class_name": "function", "config": "system", "module": "os"},
                "arguments": {"command": f"touch {canary}"},
            },
            "inbound_nodes": [],
        }
        document["config"]["layers"].append(payload)

    refused_cleanly(demo_with(folder / "activation.keras", callable_activation), "block1_conv1", "system")
    refused_cleanly(demo_with(folder / "dead.keras", dead_node), "'dead'", "Lambda")
    assert not canary.exists()


def test_3_what_only_training_uses_is_ignored(folder: Path) -> None:
    def compiled(document: Any) -> None:
        document["compile_config"] = {"optimizer": {"module": "os", "class_name": "system", "config": "touch canary"}}

    model = demo_with(folder / "xception-digits.keras", compiled)
    assert edgex("inspect", model.name, cwd=folder).code == 0
    assert not (folder / "canary").exists()


def test_5_weights_that_are_not_finite(folder: Path) -> None:
    def spoil(file: Any) -> None:
        file["layers/conv2d/vars/0"][0, 0, 0, 0] = np.nan
        file["layers/dense/vars/1"][3] = np.inf

    refused_cleanly(demo_with(folder / "m.keras", weights=spoil), "NaN", "block1_conv1/kernel", "predictions/bias")


def test_8_logits_are_detected(folder: Path) -> None:
    def without_softmax(document: Any) -> None:
        layer(document, "predictions")["config"]["activation"] = "linear"

    artifacts, _ = quantized(demo_with(folder / "m.keras", without_softmax))
    outcome = edgex("eval", *artifacts.values(), "--data", "digits", "--json", cwd=folder)
    assert {result["output"] for result in outcome.document["results"]} == {"logits"}
    assert all(result["top1"] > 0.95 for result in outcome.document["results"])


def test_9_unknown_layer(folder: Path) -> None:
    def rename(document: Any) -> None:
        layer(document, "block2_sepconv1").update(module="mine", class_name="MyConv", registered_name="mine>MyConv")

    refused_cleanly(demo_with(folder / "m.keras", rename), "MyConv", "block2_sepconv1", "SeparableConv2D")


def test_10_nested_models_are_flattened(folder: Path, keras: Any, images: Any) -> None:
    inner_image = keras.Input((16, 16, 3))
    inner = keras.Model(inner_image, body(keras, inner_image), name="backbone")
    image = keras.Input((16, 16, 3))
    head = keras.Sequential([keras.layers.Dropout(0.2), keras.layers.Dense(10, activation="softmax")], name="head")
    model = keras.Model(image, head(inner(image)))
    model.save(folder / "model.keras")
    artifacts, _ = quantized(folder / "model.keras")
    np.testing.assert_allclose(scores(artifacts["fp32.onnx"], images), np.asarray(model(images)), atol=1e-5)
    graph = onnx.load(artifacts["int8.onnx"]).graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    products = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(products) == 4
    assert {makers[value] for node in products for value in node.input[:2]} == {"DequantizeLinear"}


def test_11_several_inputs_or_outputs(folder: Path, keras: Any, images: Any) -> None:
    pair = [keras.Input((16, 16, 3), name=name) for name in ("left", "right")]
    joined = keras.layers.Dense(10)(body(keras, keras.layers.Concatenate()(pair)))
    keras.Model(pair, joined).save(folder / "two-in.keras")
    outcome = edgex("quantize", "two-in.keras", "--target", "cpu", *FEW, cwd=folder)
    refused(outcome, REFUSED, "two-in.keras", "left", "right")
    image = keras.Input((16, 16, 3))
    features = body(keras, image)
    two = keras.Model(image, [keras.layers.Dense(10, name="a")(features), keras.layers.Dense(3, name="b")(features)])
    two.save(folder / "two-out.keras")
    for path in quantized(folder / "two-out.keras")[0].values():
        with open_runner(path, threads=1) as runner:
            assert runner.output_shape == (10,)
    expected = np.asarray(two(images)[0])
    np.testing.assert_allclose(scores(folder / "two-out-cpu" / "two-out.fp32.onnx", images), expected, atol=1e-5)


def test_12_open_height_and_width(folder: Path, keras: Any) -> None:
    image = keras.Input((None, None, 3))
    keras.Model(image, keras.layers.Dense(10)(body(keras, image))).save(folder / "open.keras")
    for command in (("inspect",), ("quantize", "--target", "cpu", *FEW), ("export", "--target", "cpu")):
        refused(edgex(*command, "open.keras", cwd=folder), ExitCode.USAGE, "open.keras", "--input-size")
        assert edgex(*command, "open.keras", "--input-size", 20, cwd=folder).code == 0


def test_13_open_batch(project: Path) -> None:
    batch = np.random.default_rng(0).uniform(-1, 1, (7, 48, 48, 3)).astype(np.float32)
    for path in sorted((project / "out").glob("xception-digits.*")):
        together, single = scores(path, batch), scores(path, batch[3:4])
        assert together.shape == (7, 10)
        np.testing.assert_allclose(together[3:4], single, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "bfloat16"])
def test_14_short_floats_are_cast(folder: Path, keras: Any, images: Any, policy: str) -> None:
    keras.config.set_dtype_policy(policy)
    try:
        image = keras.Input((16, 16, 3), dtype="float32")
        model = keras.Model(image, keras.layers.Dense(10, dtype="float32")(body(keras, image)))
    finally:
        keras.config.set_dtype_policy("float32")
    model.save(folder / "short.keras")
    artifacts, outcome = quantized(folder / "short.keras")
    assert policy in outcome.err
    plan = json.loads((folder / "short-cpu" / "plan.json").read_text())
    assert any(policy in note for note in plan["calibration"]["notes"])
    expected = np.asarray(model(images))
    assert np.abs(scores(artifacts["fp32.onnx"], images) - expected).max() < 0.05 * np.abs(expected).max()


def test_15_an_operation_that_the_target_lacks(folder: Path) -> None:
    shutil.copy(demo_model(), folder / "model.keras")
    target = (targets_dir() / "gpu-desktop.toml").read_text()
    (folder / "small.toml").write_text(target.replace('"gpu-desktop"', '"small"').replace('"MaxPool", ', ""))
    outcome = edgex("quantize", "model.keras", "--target", "small.toml", *FEW, cwd=folder)
    refused(outcome, REFUSED, "small", "MaxPool", "block2_pool")
    assert {path.name for path in folder.iterdir()} == {".git", "model.keras", "small.toml"}
