"""Accuracy is counted right, in order, in constant memory, and refused where it would mean nothing."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from graphs import tiny_xception
from onnx import numpy_helper
from PIL import Image

from edgex.dataset import Dataset, open_dataset
from edgex.errors import DataError, ModelError, UsageError
from edgex.evaluate import agreement, evaluate
from edgex.graph.ir import Graph
from edgex.preprocess import Preprocessing
from edgex.runtime import open_runner
from edgex.write.onnx import onnx_model
from edgex.write.tflite import tflite_model

PREPROCESSING = Preprocessing((32, 32))
IMAGES = 60
RIGHT = 45


def save(graph: Graph, path: Path) -> Path:
    path.write_bytes(tflite_model(graph) if path.suffix == ".tflite" else onnx_model(graph).SerializeToString())
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tiny_xception(), tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Images of one colour with noise, so that predictions differ."""
    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (IMAGES, 1, 1, 3))
    return np.clip(colours + random.normal(0, 30, (IMAGES, 32, 32, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def scores(model: Path, pixels: np.ndarray) -> np.ndarray:
    """What a plain loop gets."""
    with open_runner(model, threads=1) as runner:
        return np.concatenate([runner.run(PREPROCESSING.normalize(image[np.newaxis])) for image in pixels])


@pytest.fixture(scope="module")
def dataset(pixels: np.ndarray, scores: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Labels that the model gets right for the first 45 images and wrong for the other 15."""
    labels = scores.argmax(axis=1)
    labels[RIGHT:] = (labels[RIGHT:] + 1) % 10
    labels[-1] = 9 if scores[-1].argmax() != 9 else 8
    path = tmp_path_factory.mktemp("data") / "images.npz"
    np.savez(path, x=pixels, y=labels)
    dataset = open_dataset(path, role="evaluation")
    # An npz knows the classes up to its highest label only
    return replace(dataset, class_names=tuple(map(str, range(10))))


def test_counts_what_a_plain_loop_counts(model: Path, dataset: Dataset, scores: np.ndarray) -> None:
    predictions = scores.argmax(axis=1)
    assert len(set(predictions.tolist())) >= 3, "the images must matter"
    seen: list[tuple[int, int]] = []
    (result,) = evaluate([model], dataset, PREPROCESSING, progress=lambda *counts: seen.append(counts))
    assert (result.path, result.runtime, result.images) == (model, "onnxruntime", IMAGES)
    assert result.top1 == RIGHT / IMAGES
    ranks = (scores > np.take_along_axis(scores, dataset.labels[:, np.newaxis], axis=1)).sum(axis=1)
    assert result.top5 == np.mean(ranks < 5)
    assert RIGHT / IMAGES < result.top5 < 1, "the labels must tell top 5 from both"
    np.testing.assert_array_equal(result.predictions, predictions)
    assert seen[-1] == (IMAGES, IMAGES)


@pytest.mark.parametrize("threads", [1, 3, 11])
def test_threads_change_nothing(model: Path, dataset: Dataset, threads: int, scores: np.ndarray) -> None:
    (result,) = evaluate([model], dataset, PREPROCESSING, threads=threads)
    np.testing.assert_array_equal(result.predictions, scores.argmax(axis=1))


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_must_be_positive(model: Path, dataset: Dataset, threads: int) -> None:
    with pytest.raises(UsageError, match="threads"):
        evaluate([model], dataset, PREPROCESSING, threads=threads)


def test_several_files_side_by_side(model: Path, dataset: Dataset, tmp_path: Path) -> None:
    twin = save(tiny_xception(), tmp_path / "tiny.tflite")
    stranger = save(tiny_xception(seed=1), tmp_path / "other.tflite")
    results = evaluate([twin, model, stranger], dataset, PREPROCESSING)
    assert [result.path for result in results] == [twin, model, stranger]
    assert [result.runtime for result in results] == ["litert", "onnxruntime", "litert"]
    assert agreement(results[0], results[1]) == 1
    expected = np.mean(results[1].predictions == results[2].predictions)
    assert agreement(results[1], results[2]) == expected < 1


def test_agreement_wants_the_same_images(model: Path, dataset: Dataset) -> None:
    (whole,) = evaluate([model], dataset, PREPROCESSING)
    (part,) = evaluate([model], replace(dataset, items=dataset.items[:20]), PREPROCESSING)
    with pytest.raises(ValueError, match=r"60 images and .* 20"):
        agreement(whole, part)


@pytest.mark.parametrize(("output", "expected"), [("predictions", "logits"), ("predictions.softmax", "softmax")])
def test_logits_are_told_from_softmax(dataset: Dataset, tmp_path: Path, output: str, expected: str) -> None:
    path = save(replace(tiny_xception(), outputs=(output,)), tmp_path / "tiny.onnx")
    (result,) = evaluate([path], dataset, PREPROCESSING)
    assert result.output == expected
    assert result.top1 == RIGHT / IMAGES


def test_fewer_than_five_classes(dataset: Dataset, tmp_path: Path) -> None:
    path = save(tiny_xception(classes=3), tmp_path / "three.onnx")
    items = tuple(replace(item, label=number % 3) for number, item in enumerate(dataset.items))
    (result,) = evaluate([path], replace(dataset, items=items, class_names=("a", "b", "c")), PREPROCESSING)
    assert result.top5 == 1
    assert result.top1 < 1


def test_class_count_must_fit(dataset: Dataset, tmp_path: Path) -> None:
    path = save(tiny_xception(classes=7), tmp_path / "seven.onnx")
    with pytest.raises(UsageError, match=r"seven\.onnx knows 7 classes, and .* for 10"):
        evaluate([path], dataset, PREPROCESSING)


def test_image_size_must_fit(model: Path, dataset: Dataset) -> None:
    with pytest.raises(UsageError, match=r"\(32, 32, 3\).*\(71, 71, 3\)"):
        evaluate([model], dataset, Preprocessing((71, 71)))


def test_an_output_that_is_no_vector(dataset: Dataset, tmp_path: Path) -> None:
    path = save(replace(tiny_xception(), outputs=("add_1",)), tmp_path / "body.onnx")
    with pytest.raises(UsageError, match=r"body\.onnx is no classifier.*\(7, 7, 24\)") as refusal:
        evaluate([path], dataset, PREPROCESSING)
    assert "masks" in refusal.value.fix


def test_nan_is_an_error_of_the_model(dataset: Dataset, tmp_path: Path) -> None:
    model = onnx_model(tiny_xception())
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "predictions.bias")
    bias.CopyFrom(numpy_helper.from_array(np.full(10, np.nan, np.float32), bias.name))
    path = tmp_path / "sick.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"sick\.onnx gives scores that are not finite .* for 00"):
        evaluate([path], dataset, PREPROCESSING)


def test_labels_are_needed(model: Path, dataset: Dataset) -> None:
    bare = replace(dataset, items=tuple(replace(item, label=None) for item in dataset.items))
    with pytest.raises(DataError, match="no labels"):
        evaluate([model], bare, PREPROCESSING)


def image_folder(folder: Path, count: int) -> Path:
    """One image under many names, in ten class folders."""
    random = np.random.default_rng(0)
    first = folder / "class0" / "image00000.png"
    for number in range(10):
        (folder / f"class{number}").mkdir(parents=True)
    Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(first)
    for number in range(1, count):
        (folder / f"class{number % 10}" / f"image{number:05}.png").hardlink_to(first)
    return folder


def test_unreadable_images_are_left_out(model: Path, tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "images", 30)
    (folder / "class3" / "broken.png").write_bytes(b"no image")
    (result,) = evaluate([model], open_dataset(folder, role="evaluation", max_bad=1), PREPROCESSING)
    assert result.images == len(result.predictions) == 30
    assert result.top1 == 0.1
    with pytest.raises(DataError, match=r"broken\.png"):
        evaluate([model], open_dataset(folder, role="evaluation"), PREPROCESSING)


def test_memory_does_not_grow_with_the_images(model: Path, dataset: Dataset) -> None:
    def peak(count: int) -> int:
        items = tuple(dataset.items[number % IMAGES] for number in range(count))
        tracemalloc.start()
        evaluate([model] * 10, replace(dataset, items=items), PREPROCESSING, threads=1)  # slower than decoding
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    peak(10)  # what the first run imports stays
    kept_images = 900 * 32 * 32 * 3 * 4
    assert peak(1000) - peak(100) < kept_images / 10
