"""Maps are those of the methods' papers, and fall apart where weights are spoiled."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import onnx
import pytest
from graphs import tiny_xception
from onnx_support import named

from edgex.dataset import Dataset, open_dataset
from edgex.explain import FLIPPED, OTHERS, Subject, explain
from edgex.explain.agreement import correlation, heat
from edgex.explain.grad_cam import grad_cam
from edgex.explain.head import find_head
from edgex.explain.occlusion import POSITIONS, gray_patch, occlusion_map
from edgex.explanation import ArtifactMaps, Explanation
from edgex.graph.ir import Array, Graph, MaxPool2D, Node
from edgex.lint.onnx_file import read_onnx_file
from edgex.predictions import BEST, About, ModelPredictions, Predictions
from edgex.preprocess import Preprocessing
from edgex.quantize.ptq import PtqOptions, quantize_ptq
from edgex.runtime import open_runner
from edgex.write.onnx import onnx_model
from edgex.write.tflite import tflite_model

SIZE = 48
GRAPH = tiny_xception(SIZE)
PREPROCESSING = Preprocessing(size=(SIZE, SIZE), channels=3)
IMAGES = 40


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Noise with a bright square somewhere."""
    random = np.random.default_rng(0)
    images = random.integers(0, 100, (IMAGES, SIZE, SIZE, 3), np.uint8)
    for image in images:
        top, left = random.integers(0, SIZE - 16, 2)
        image[top : top + 16, left : left + 16] += random.integers(60, 156, 3, np.uint8)
    path = tmp_path_factory.mktemp("images") / "images.npz"
    np.savez(path, x=images, y=np.arange(IMAGES) % 10)
    return open_dataset(path, role="evaluation")


@pytest.fixture(scope="module")
def pictures(dataset: Dataset) -> Array:
    return np.concatenate([image for _, image in dataset.batches(PREPROCESSING)])


def spoiled(graph: Graph, name: str = "block14_sepconv1.pointwise") -> Graph:
    """With the kernel of a layer drawn anew, as large as it was."""
    kernel = graph[name].params["kernel"]
    drawn = np.random.default_rng(1).normal(0, kernel.std(), kernel.shape)
    return graph.rewrite({name: [graph[name].with_params(kernel=drawn)]})


@pytest.fixture(scope="module")
def files(pictures: Array, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Subject]:
    """The network in float, in INT8 in both formats, and in INT8 with a layer spoiled."""
    folder = tmp_path_factory.mktemp("files")
    result = quantize_ptq(GRAPH, named(pictures[:8]), PtqOptions("asymmetric", "minmax"))
    contents = {
        "fp32.onnx": onnx_model(GRAPH).SerializeToString(),
        "int8.onnx": onnx_model(result.graph, result.plan).SerializeToString(),
        "int8.tflite": tflite_model(result.graph, result.plan),
        "spoiled.onnx": onnx_model(spoiled(result.graph), result.plan).SerializeToString(),
        "spoiled.tflite": tflite_model(spoiled(result.graph), result.plan),
    }
    subjects = {}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        runtime = "litert" if name.endswith("tflite") else "onnxruntime"
        subjects[name] = Subject(name, folder / name, runtime)
    return subjects


@pytest.fixture(scope="module")
def predictions(dataset: Dataset, pictures: Array, files: dict[str, Subject]) -> Predictions:
    of = {}
    for name, subject in files.items():
        with open_runner(subject.path, runtime=subject.runtime, threads=1) as runner:
            scores = runner.run(pictures)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :BEST].astype(np.int32)
        of[name] = ModelPredictions(best, scores.max(axis=1).astype(np.float32), np.zeros(IMAGES, np.float32))
    about = About("key", dataset.class_names, dataset.names, tuple(files), IMAGES)
    hashes, zeros = np.zeros((IMAGES, 32), np.uint8), np.zeros(IMAGES, np.float32)
    return Predictions(about, hashes, np.arange(IMAGES, dtype=np.int32) % 10, zeros, of)


@pytest.fixture(scope="module")
def explanation(dataset: Dataset, files: dict[str, Subject], predictions: Predictions) -> Explanation:
    steps: list[tuple[int, int]] = []
    baseline, *artifacts = files.values()
    found = explain(
        baseline,
        artifacts,
        dataset,
        PREPROCESSING,
        predictions,
        threads=1,
        progress=lambda *step: steps.append(step[1:]),
    )
    total = 2 * sum(len(each.images) for each in found.artifacts)
    assert steps == [(done, total) for done in range(total + 1)]
    return found


def maps_of(explanation: Explanation, name: str) -> ArtifactMaps:
    return next(each for each in explanation.artifacts if each.name == name)


def test_closed_form_is_grad_cam_by_gradients(files: dict[str, Subject], pictures: Array) -> None:
    """As its paper has it: weights are the gradients' means over positions."""
    import tensorflow as tf
    import tf_keras

    from edgex.train.network import keras_model, layer_name

    model = keras_model(GRAPH)
    features = model.get_layer(layer_name("avg_pool")).input
    logits = model.get_layer(layer_name("predictions")).output
    network = tf_keras.Model(model.inputs, [features, logits])
    file = read_onnx_file(files["fp32.onnx"].path)
    head = find_head(file)
    assert head is not None
    assert head.features == "block14_sepconv1_act"
    with grad_cam(file, head, threads=1) as mapped:
        for image, label in zip(pictures[:4], (0, 3, 7, 9), strict=True):
            with tf.GradientTape() as tape:
                maps, scores = network(image[np.newaxis])
                score = scores[0, label]
            gradients = tape.gradient(score, maps)
            weights = tf.reduce_mean(gradients, axis=(1, 2))
            expected = tf.nn.relu(tf.reduce_sum(weights[:, None, None] * maps, axis=-1))[0].numpy()
            assert expected.max() > 0
            np.testing.assert_allclose(mapped(image, label), expected, atol=1e-5 * expected.max(), rtol=1e-4)


def test_weights_of_int8_files_are_those_they_multiply_with(files: dict[str, Subject]) -> None:
    float_head, int8_head = (find_head(read_onnx_file(files[name].path)) for name in ("fp32.onnx", "int8.onnx"))
    assert float_head is not None
    assert int8_head is not None
    kernel = GRAPH["predictions"].params["kernel"]
    assert np.array_equal(float_head.weights, kernel)
    error = abs(int8_head.weights - kernel)
    assert 0 < error.max() <= abs(kernel).max() / 127


def test_occlusion_finds_what_is_covered(files: dict[str, Subject], pictures: Array) -> None:
    """Each value is the drop in a run of an image that was covered by hand."""
    patch = gray_patch(PREPROCESSING)
    assert patch.shape == (1, 1, 3)
    assert abs(patch).max() < 0.01
    with open_runner(files["fp32.onnx"].path, threads=1) as runner:
        found = occlusion_map(runner, pictures[0], 3, patch)
        assert found.shape == (POSITIONS, POSITIONS)
        covered = pictures[0].copy()
        covered[9:21, 27:39] = patch  # row 2, column 5: cells of 6 pixels, the patch 12
        scores = runner.run(np.stack([pictures[0], covered]))
    assert found[2, 5] == pytest.approx(scores[0, 3] - scores[1, 3], abs=1e-6)
    assert np.ptp(found) > 0.01


def test_methods_are_like_for_like(explanation: Explanation) -> None:
    assert [(each.name, each.method) for each in explanation.artifacts] == [
        ("int8.onnx", "grad-cam"),
        ("int8.tflite", "occlusion"),
        ("spoiled.onnx", "grad-cam"),
        ("spoiled.tflite", "occlusion"),
    ]
    for each in explanation.artifacts:
        sides = {(len(heat), len(heat[0])) for image in each.images for heat in (image.baseline, image.artifact)}
        assert sides == ({(11, 11)} if each.method == "grad-cam" else {(POSITIONS, POSITIONS)})
        assert (each.reason == "") == (each.method == "grad-cam")


def test_quantized_files_look_where_the_float_one_looks(explanation: Explanation) -> None:
    for name in ("int8.onnx", "int8.tflite"):
        found = maps_of(explanation, name)
        assert found.mean is not None
        assert found.mean > 0.9, name


def test_spoiled_weights_show(explanation: Explanation) -> None:
    for form in ("onnx", "tflite"):
        well, ill = maps_of(explanation, f"int8.{form}"), maps_of(explanation, f"spoiled.{form}")
        assert well.mean is not None
        assert ill.mean is not None
        assert ill.mean < 0.6 < well.mean
        assert ill.worst is not None
        assert ill.worst < ill.mean
        assert ill.worst == min(image.correlation for image in ill.images if image.correlation is not None)
        assert ill.worst_image in {image.image for image in ill.images if image.correlation == ill.worst}


def test_all_flipped_images_and_some_others(explanation: Explanation, predictions: Predictions) -> None:
    first = predictions.of["fp32.onnx"].top1
    for each in explanation.artifacts:
        changed = predictions.of[each.name].top1 != first
        flipped = [image for image in each.images if image.flipped]
        others = [image for image in each.images if not image.flipped]
        assert each.changed == changed.sum()
        assert len(flipped) == min(FLIPPED, each.changed)
        assert len(others) == min(OTHERS, IMAGES - each.changed)
        rows = {name: row for row, name in enumerate(predictions.about.names)}
        assert all(changed[rows[image.image]] for image in flipped)
        assert not any(changed[rows[image.image]] for image in others)
        assert all(image.label == predictions.about.class_names[first[rows[image.image]]] for image in each.images)
    assert maps_of(explanation, "spoiled.onnx").changed > FLIPPED


def test_correlation() -> None:
    ramp = np.arange(9, dtype=np.float32).reshape(3, 3)
    assert correlation(ramp, 2 * ramp + 1) == pytest.approx(1)
    assert correlation(ramp, -ramp) == pytest.approx(-1)
    other = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    assert correlation(ramp, other) == pytest.approx(np.corrcoef(ramp.ravel(), other.ravel())[0, 1])
    assert correlation(0 * ramp, ramp) is None
    assert correlation(ramp, 0 * ramp) == 0
    assert correlation(0.001 * ramp, ramp, flat=0.01) is None
    assert correlation(ramp, 0.001 * ramp, flat=0.01) == 0


def test_heat_is_scaled_and_only_of_what_speaks_for_the_class() -> None:
    assert heat(np.array([[-1, 2], [4, 1]], np.float32)) == ((0.0, 0.5), (1.0, 0.25))
    assert heat(np.array([[-1, 0]], np.float32)) == ((0.0, 0.0),)


def test_other_ends_have_no_head(files: dict[str, Subject], tmp_path: Path) -> None:
    model = onnx.load(files["fp32.onnx"].path)
    (pool,) = (node for node in model.graph.node if node.op_type == "GlobalAveragePool")
    pool.op_type = "GlobalMaxPool"
    onnx.save(model, tmp_path / "max.onnx")
    assert find_head(read_onnx_file(tmp_path / "max.onnx")) is None


def test_features_that_hardly_say_where_are_not_mapped(
    dataset: Dataset, files: dict[str, Subject], predictions: Predictions, tmp_path: Path
) -> None:
    """The same network behind a pool that leaves 2×2 positions of 11×11."""
    pool = Node("coarse", MaxPool2D((6, 6), (6, 6), "same"), ("block14_sepconv1_act",))
    average = GRAPH["avg_pool"]
    coarse = GRAPH.rewrite({average.name: [pool, Node(average.name, average.op, ("coarse",))]})
    onnx.save(onnx_model(coarse), tmp_path / "coarse.onnx")
    subject = Subject("int8.onnx", tmp_path / "coarse.onnx", "onnxruntime")

    def silent(_what: str, _done: int, _total: int) -> None:
        pass

    baseline = files["fp32.onnx"]
    found = explain(baseline, [subject], dataset, PREPROCESSING, predictions, threads=1, progress=silent)
    (maps,) = found.artifacts
    assert (maps.method, maps.reason) == ("occlusion", "the features that are pooled have 2×2 and 11×11 positions")
