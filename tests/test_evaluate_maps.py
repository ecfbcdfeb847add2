"""Networks that label pixels are counted right, in constant memory, and refused where it would mean nothing."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from graphs import tiny_xception
from onnx import numpy_helper
from segmenters import colour_segmenter, corrupted, without_softmax
from shapes import CLASSES, Shapes, shapes

from edgex.dataset import Dataset, open_dataset
from edgex.errors import DataError, ModelError, UsageError
from edgex.evaluate import Crews, MapResult, compare_maps, evaluate, evaluate_maps
from edgex.graph.ir import Graph
from edgex.measure import evaluate_artifacts
from edgex.preprocess import Preprocessing
from edgex.render.documents import eval_document
from edgex.render.evaluations import show_maps
from edgex.runtime import open_runner
from edgex.segmentation import Agreement, Confusions
from edgex.write.onnx import onnx_model
from edgex.write.tflite import tflite_model

SIZE = 24
PREPROCESSING = Preprocessing((SIZE, SIZE))
MADE = shapes(34, SIZE, void=True)


def save(graph: Graph, path: Path) -> Path:
    path.write_bytes(tflite_model(graph) if path.suffix == ".tflite" else onnx_model(graph).SerializeToString())
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    good = colour_segmenter(SIZE)
    return [
        save(good, folder / "good.fp32.onnx"),
        save(good, folder / "good.fp32.tflite"),
        save(corrupted(good, 0.3), folder / "bad.onnx"),
    ]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(MADE.write_folder(tmp_path_factory.mktemp("data")), role="evaluation")


def plain_maps(path: Path, dataset: Dataset) -> np.ndarray:
    """What a plain loop gets."""
    with open_runner(path, threads=1) as runner:
        images = [PREPROCESSING.apply(dataset[index])[np.newaxis] for index in range(len(dataset))]
        return np.concatenate([runner.run(image) for image in images]).argmax(axis=-1)


def test_figures_are_those_of_a_plain_loop(models: list[Path], dataset: Dataset) -> None:
    seen: list[tuple[int, int]] = []
    results = evaluate_maps(models, dataset, PREPROCESSING, progress=lambda *counts: seen.append(counts))
    assert seen[-1] == (34, 34)
    assert [result.runtime for result in results] == ["onnxruntime", "litert", "onnxruntime"]
    masks = np.stack([dataset.mask(index) for index in range(len(dataset))])
    counted = masks < len(CLASSES)
    maps = [plain_maps(path, dataset) for path in models]
    for result, found in zip(results, maps, strict=True):
        ious = [
            ((masks == index) & (found == index)).sum() / (((masks == index) | (found == index)) & counted).sum()
            for index in range(len(CLASSES))
        ]
        assert [name for name, _ in result.classes] == list(CLASSES)
        assert [share for _, share in result.classes] == pytest.approx(ious)
        assert result.miou == pytest.approx(np.mean(ious))
        assert result.pixel_accuracy == pytest.approx((masks == found)[counted].mean())
        assert result.miou_interval[0] < result.miou < result.miou_interval[1]
        assert (result.images, result.output) == (34, "softmax")
    assert results[0].miou > 0.8
    assert results[2].miou < results[0].miou - 0.1, "a network that was spoilt must show"
    assert [result.agreeing for result in results] == [
        None,
        *(pytest.approx((found == maps[0]).mean()) for found in maps[1:]),
    ]


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_nothing(models: list[Path], dataset: Dataset, threads: int) -> None:
    (one,) = evaluate_maps(models[:1], dataset, PREPROCESSING, threads=threads)
    (again,) = evaluate_maps(models[:1], dataset, PREPROCESSING)
    assert one == again
    np.testing.assert_array_equal(one.confusions.pixels, again.confusions.pixels)


def test_masks_are_brought_to_the_size_of_the_output(models: list[Path], tmp_path: Path) -> None:
    larger = shapes(12, 3 * SIZE)
    dataset = open_dataset(larger.write_npz(tmp_path / "a.npz"), role="evaluation")
    (found,) = evaluate_maps(models[:1], dataset, PREPROCESSING)
    assert found.confusions.by_class().truth.sum() == 12 * SIZE * SIZE
    assert found.miou > 0.7


def test_files_are_compared_image_by_image(models: list[Path], dataset: Dataset) -> None:
    good, *others = evaluate_maps(models, dataset, PREPROCESSING)
    before = plain_maps(models[0], dataset)
    discordant = []
    for other in others:
        found = compare_maps(good, other)
        assert found.names == CLASSES
        assert found.drop.points == pytest.approx(100 * (good.miou - other.miou))
        equal = (before == plain_maps(other.path, dataset)).sum(axis=(1, 2))
        assert found.agreement is not None
        assert found.agreement.equal.tolist() == equal.tolist()
        assert found.discordant == (equal < SIZE * SIZE).sum()
        discordant.append(found.discordant)
    assert discordant[0] < discordant[1], "a spoilt file changes more maps than another format"
    with pytest.raises(ValueError, match=r"good\.fp32\.onnx was not evaluated beside .*bad\.onnx"):
        compare_maps(others[-1], good)


def test_logits_are_told_from_softmax(dataset: Dataset, tmp_path: Path) -> None:
    path = save(without_softmax(colour_segmenter(SIZE)), tmp_path / "logits.onnx")
    (found,) = evaluate_maps([path], dataset, PREPROCESSING)
    assert found.output == "logits"
    assert found.agreeing is None
    assert found.miou > 0.8


def test_classes_that_have_no_names_may_be_fewer(models: list[Path], tmp_path: Path) -> None:
    masks = np.minimum(MADE.masks, 2)
    dataset = open_dataset(Shapes(MADE.images, masks).write_npz(tmp_path / "a.npz"), role="evaluation")
    assert len(dataset.class_names) == 3
    (found,) = evaluate_maps(models[:1], dataset, PREPROCESSING)
    assert [name for name, _ in found.classes] == ["0", "1", "2", "3", "4"]


def test_json_of_eval(models: list[Path], dataset: Dataset) -> None:
    document = eval_document(evaluate_artifacts(models[:1], dataset.source.path))
    (result,) = document["results"]
    intervals = {"miou_low", "miou_high", "pixel_accuracy_low", "pixel_accuracy_high"}
    assert set(result) == {"path", "runtime", "images", "miou", "pixel_accuracy", "output", "classes"} | intervals
    assert result["miou_low"] < result["miou"] < result["miou_high"]
    assert [each["name"] for each in result["classes"]] == list(CLASSES)


# The terminal


RESULT = MapResult(
    path=Path("net.int8.onnx"),
    runtime="onnxruntime",
    images=40,
    miou=0.5,
    miou_interval=(0.4, 0.6),
    pixel_accuracy=0.8,
    pixel_accuracy_interval=(0.7, 0.9),
    enough=True,
    classes=(("ground", 0.75), ("disc", None)),
    output="softmax",
    agreement=Agreement(np.array([7, 7]), 8),
    confusions=Confusions.joined(2, []),
)


def cells(out: str, name: str) -> list[str]:
    """The cells of the first row of a table that has a name in it."""
    row = next(line for line in out.splitlines() if name in line)
    return [cell.strip() for cell in row.split("  ") if cell.strip()]


def test_files_of_different_class_counts_are_shown_together(capsys: pytest.CaptureFixture[str]) -> None:
    wider = replace(RESULT, path=Path("other.int8.onnx"), classes=(*RESULT.classes, ("2", 0.25)))
    for results, last in (((RESULT, wider), ["–", "25.00"]), ((wider, RESULT), ["25.00", "–"])):
        show_maps(results)
        shown = capsys.readouterr().out
        assert cells(shown, "ground") == ["ground", "75.00", "75.00"]
        assert cells(shown, "25.00") == ["2", *last]


def test_the_float_file_does_not_agree_with_itself(capsys: pytest.CaptureFixture[str]) -> None:
    show_maps([replace(RESULT, path=Path("net.fp32.onnx"), agreement=None), RESULT])
    shown = capsys.readouterr().out
    assert cells(shown, "fp32.onnx")[-1] == "80.00"
    assert cells(shown, "int8.onnx")[-1] == "87.50"


@pytest.mark.parametrize("enough", [True, False])
def test_bounds_that_say_nothing_are_explained(enough: bool, capsys: pytest.CaptureFixture[str]) -> None:
    show_maps([replace(RESULT, enough=enough)])
    assert ("fewer than 30 images" in capsys.readouterr().out) == (not enough)


def test_few_images_prove_nothing(models: list[Path], dataset: Dataset) -> None:
    (found,) = evaluate_maps(models[:1], replace(dataset, items=dataset.items[:12]), PREPROCESSING)
    assert (found.enough, found.miou_interval) == (False, (0, 1))


# Refusals


def test_a_classifier_on_masks(dataset: Dataset, tmp_path: Path) -> None:
    path = save(tiny_xception(SIZE, classes=5), tmp_path / "tiny.onnx")
    with pytest.raises(UsageError, match=r"tiny.onnx is a classifier of 5 classes, and .* has masks") as refusal:
        evaluate_maps([path], dataset, PREPROCESSING)
    assert "class/name.jpg" in refusal.value.fix
    with pytest.raises(UsageError, match="has masks"):
        evaluate([path], dataset, PREPROCESSING)


def test_a_segmenter_on_class_folders(models: list[Path], tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=MADE.images, y=np.arange(34) % 5)
    labelled = open_dataset(tmp_path / "a.npz", role="evaluation")
    with pytest.raises(UsageError, match=r"good.fp32.onnx is no classifier.*one label for each image") as refusal:
        evaluate(models[:1], labelled, PREPROCESSING)
    assert "masks" in refusal.value.fix
    with pytest.raises(UsageError, match="one label for each image"):
        evaluate_artifacts(models[:1], tmp_path / "a.npz")
    with pytest.raises(DataError, match="no masks"):
        evaluate_maps(models[:1], labelled, PREPROCESSING)


def test_class_count_must_fit(models: list[Path], dataset: Dataset) -> None:
    for names in (CLASSES[:4], (*CLASSES, "star")):
        with pytest.raises(UsageError, match=rf"knows 5 classes, and .* masks of {len(names)}"):
            evaluate_maps(models[:1], replace(dataset, class_names=names), PREPROCESSING)


def test_image_size_must_fit(models: list[Path], dataset: Dataset) -> None:
    with pytest.raises(UsageError, match=r"\(24, 24, 3\).*\(48, 48, 3\)"):
        evaluate_maps(models[:1], dataset, Preprocessing((48, 48)))


def test_images_must_be_stretched(models: list[Path], dataset: Dataset) -> None:
    with pytest.raises(UsageError, match="'crop'"):
        evaluate_maps(models[:1], dataset, Preprocessing((SIZE, SIZE), resize="crop"))


def test_maps_of_one_size_only(models: list[Path], dataset: Dataset, tmp_path: Path) -> None:
    graph = colour_segmenter(SIZE)
    (input_node, blur, *rest) = graph.nodes
    half = replace(blur, op=replace(blur.op, strides=(2, 2)))
    path = save(replace(graph, nodes=(input_node, half, *rest)), tmp_path / "half.onnx")
    with pytest.raises(UsageError, match=r"half.onnx makes maps of shape \(12, 12, 5\)"):
        evaluate_maps([models[0], path], dataset, PREPROCESSING)
    (found,) = evaluate_maps([path], dataset, PREPROCESSING)
    assert found.confusions.by_class().truth.sum() <= 34 * 12 * 12


def test_nan_is_an_error_of_the_model(dataset: Dataset, tmp_path: Path) -> None:
    model = onnx_model(colour_segmenter(SIZE))
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "scores.bias")
    bias.CopyFrom(numpy_helper.from_array(np.full(5, np.nan, np.float32), bias.name))
    path = tmp_path / "sick.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"sick.onnx gives scores that are not finite .* for images/even/0000.png"):
        evaluate_maps([path], dataset, PREPROCESSING)


def test_masks_that_are_all_void(models: list[Path], tmp_path: Path) -> None:
    dataset = open_dataset(
        Shapes(MADE.images, np.full_like(MADE.masks, 255)).write_npz(tmp_path / "a.npz"), role="evaluation"
    )
    with pytest.raises(DataError, match="All pixels of all masks are void"):
        evaluate_maps(models[:1], dataset, PREPROCESSING)


def test_unreadable_masks_are_left_out(models: list[Path], tmp_path: Path) -> None:
    folder = MADE.write_folder(tmp_path / "d")
    (folder / "masks/even/0004.png").write_bytes(b"no image")
    (found,) = evaluate_maps(models[:1], open_dataset(folder, role="evaluation", max_bad=1), PREPROCESSING)
    assert found.images == 33
    with pytest.raises(DataError, match=r"masks/even/0004\.png"):
        evaluate_maps(models[:1], open_dataset(folder, role="evaluation"), PREPROCESSING)


def test_memory_does_not_grow_with_the_images(models: list[Path], dataset: Dataset) -> None:
    def peak(count: int) -> int:
        items = tuple(dataset.items[number % 34] for number in range(count))
        tracemalloc.start()
        with Crews(models[:1], threads=1) as crews:
            for _ in crews.maps(replace(dataset, items=items), PREPROCESSING):
                pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    peak(10)  # what the first run imports stays
    assert peak(300) - peak(40) < 260 * SIZE * SIZE / 4, "not even the maps are kept"


def test_noise_is_that_of_the_logits(models: list[Path], dataset: Dataset, tmp_path: Path) -> None:
    """The oracle: the input of the softmax, read before it."""
    few = replace(dataset, items=dataset.items[:4])
    good, bad = colour_segmenter(SIZE), corrupted(colour_segmenter(SIZE), 0.3)
    with Crews([models[0], models[2]], threads=1) as crews:
        found = list(crews.maps(few, PREPROCESSING, noise=True))
    logits = []
    for name, graph in (("good", good), ("bad", bad)):
        with open_runner(save(without_softmax(graph), tmp_path / f"{name}.onnx"), threads=1) as runner:
            images = np.stack([PREPROCESSING.apply(few[index]) for index in range(4)])
            scores = runner.run(images).astype(np.float64)
            logits.append(scores - scores.mean(axis=-1, keepdims=True))
    np.testing.assert_allclose([each.signal for each in found], (logits[0] ** 2).sum(axis=(1, 2, 3)), rtol=1e-3)
    noise = ((logits[0] - logits[1]) ** 2).sum(axis=(1, 2, 3))
    np.testing.assert_allclose([each.noise[1] for each in found], noise, rtol=1e-3)
    assert all(each.noise[0] == 0 for each in found)
