"""Predictions are what a plain loop gets, and an interrupted run resumes where it stopped."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from graphs import tiny_xception
from PIL import Image

from edgex.dataset import Dataset, open_dataset
from edgex.errors import DataError
from edgex.evaluate import Crews
from edgex.graph.ir import Graph, Softmax
from edgex.predictions import Predictions, load_predictions
from edgex.preprocess import Preprocessing
from edgex.runtime import open_runner
from edgex.validate import collect as module
from edgex.validate.collect import centred_logits, collect, probabilities
from edgex.write.onnx import onnx_model

PREPROCESSING = Preprocessing((32, 32))
IMAGES = 40
NAMES = ("float", "other")


def save(graph: Graph, path: Path) -> Path:
    path.write_bytes(onnx_model(graph).SerializeToString())
    return path


def without_softmax(graph: Graph) -> Graph:
    """The same network, ending in the softmax's input."""
    (output,) = graph.outputs
    softmax = next(node for node in graph.nodes if node.name == output)
    assert isinstance(softmax.op, Softmax)
    return replace(graph, nodes=tuple(node for node in graph.nodes if node is not softmax), outputs=softmax.inputs)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two networks that differ, and the logits of both."""
    folder = tmp_path_factory.mktemp("models")
    one, other = tiny_xception(), tiny_xception(seed=1)
    files = {"a": one, "b": other, "a-logits": without_softmax(one), "b-logits": without_softmax(other)}
    return [save(graph, folder / f"{name}.onnx") for name, graph in files.items()]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (IMAGES, 1, 1, 3))
    pixels = np.clip(colours + random.normal(0, 30, (IMAGES, 32, 32, 3)), 0, 255).astype(np.uint8)
    for number, image in enumerate(pixels):
        folder = tmp_path / "images" / f"class{number % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number:02}.png")
    return open_dataset(tmp_path / "images", role="evaluation")


def run(models: list[Path], dataset: Dataset, kept: Path, key: str = "key", stop: int | None = None) -> Predictions:
    """Collect; interrupted, as by Ctrl-C, once ``stop`` images are done."""

    def progress(done: int, _total: int) -> None:
        if stop is not None and done >= stop:
            raise KeyboardInterrupt

    with Crews(models[:2], threads=2) as crews:
        return collect(crews, NAMES, dataset, PREPROCESSING, key=key, partial=kept, progress=progress)


def assert_equal(a: Predictions, b: Predictions) -> None:
    assert a.about == b.about
    for name in ("hashes", "labels", "signal"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    for model in NAMES:
        for column in ("best", "probability", "noise"):
            np.testing.assert_array_equal(getattr(a.of[model], column), getattr(b.of[model], column))


def test_columns_are_what_a_plain_loop_gets(models: list[Path], dataset: Dataset, tmp_path: Path) -> None:
    found = run(models, dataset, tmp_path / "kept.npz")
    scores = []
    for path in models:
        with open_runner(path, threads=1) as runner:
            pixels = [PREPROCESSING.apply(dataset[index])[np.newaxis] for index in range(len(dataset))]
            scores.append(np.concatenate([runner.run(image) for image in pixels]))
    for model, of_model in zip(NAMES, scores[:2], strict=True):
        np.testing.assert_array_equal(found.of[model].best, np.argsort(-of_model, axis=1, kind="stable")[:, :5])
        np.testing.assert_allclose(found.of[model].probability, of_model.max(axis=1), rtol=1e-6)
    # The oracle: the input of the softmax, read before it
    logits = [one - one.mean(axis=1, keepdims=True) for one in scores[2:]]
    np.testing.assert_allclose(found.signal, (logits[0] ** 2).sum(axis=1), rtol=1e-3)
    np.testing.assert_allclose(found.of["other"].noise, ((logits[0] - logits[1]) ** 2).sum(axis=1), rtol=1e-3)
    assert found.of["float"].noise.max() == 0
    np.testing.assert_array_equal(found.labels, dataset.labels)
    assert found.about.names == dataset.names
    assert [row.tobytes().hex() for row in found.hashes] == list(dataset.content_hashes)


def test_a_model_that_gives_logits_is_read_alike(models: list[Path], dataset: Dataset, tmp_path: Path) -> None:
    softmax = run(models, dataset, tmp_path / "softmax.npz")
    logits = run([models[2], models[3]], dataset, tmp_path / "logits.npz")
    np.testing.assert_allclose(softmax.of["other"].noise, logits.of["other"].noise, rtol=1e-3)
    np.testing.assert_allclose(softmax.of["other"].probability, logits.of["other"].probability, rtol=1e-5)


def test_an_interrupted_run_resumes(models: list[Path], dataset: Dataset, tmp_path: Path) -> None:
    whole = run(models, dataset, tmp_path / "whole.npz")
    kept = tmp_path / "kept.npz"
    with pytest.raises(KeyboardInterrupt):
        run(models, dataset, kept, stop=16)
    done = len(load_predictions(kept))
    assert 16 <= done < IMAGES
    decoded: list[str] = []
    again = open_dataset(dataset.source.path, role="evaluation")
    watched = replace(again, source=Watched(again.source, decoded))
    assert_equal(run(models, watched, kept), whole)
    assert decoded == list(dataset.names[done:])


class Watched:
    """A source that notes which images are decoded."""

    def __init__(self, source: object, decoded: list[str]) -> None:
        self._source = source
        self._decoded = decoded

    def image(self, name: str) -> object:
        self._decoded.append(name)
        return self._source.image(name)

    def __getattr__(self, name: str) -> object:
        return getattr(self._source, name)


@pytest.mark.parametrize("spoiled", [b"", b"no zip"])
def test_what_does_not_belong_here_is_begun_anew(
    models: list[Path], dataset: Dataset, tmp_path: Path, spoiled: bytes
) -> None:
    kept = tmp_path / "kept.npz"
    with pytest.raises(KeyboardInterrupt):
        run(models, dataset, kept, stop=16)
    other = run(models, dataset, kept, key="of other files")
    assert (len(other), other.about.key) == (IMAGES, "of other files")
    kept.write_bytes(spoiled)
    assert len(run(models, dataset, kept)) == IMAGES


def test_work_is_kept_before_anything_interrupts_it(
    models: list[Path], dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAVE_SECONDS", 0.0)
    kept = tmp_path / "kept.npz"
    sizes = []
    with Crews(models[:2], threads=1) as crews:
        collect(
            crews,
            NAMES,
            dataset,
            PREPROCESSING,
            key="key",
            partial=kept,
            progress=lambda *_: sizes.append(len(load_predictions(kept)) if kept.exists() else 0),
        )
    assert sizes == [0, *range(8, IMAGES, 8)], "as much as was done before a batch must be on disk"


@pytest.mark.usefixtures("dataset")
def test_unreadable_images_count_across_an_interruption(models: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "images" / "class0"
    (folder / "00.png").write_bytes(b"\x89PNG no more")
    (tmp_path / "images" / "class9" / "39.png").write_bytes(b"\x89PNG no more")
    kept = tmp_path / "kept.npz"
    with pytest.raises(KeyboardInterrupt):
        run(models, open_dataset(tmp_path / "images", role="evaluation", max_bad=2), kept, stop=8)
    assert sorted(load_predictions(kept).about.unreadable) == ["class0/00.png"]
    with pytest.raises(DataError, match=r"2 of 40 images"):
        run(models, open_dataset(tmp_path / "images", role="evaluation", max_bad=1), kept)
    found = run(models, open_dataset(tmp_path / "images", role="evaluation", max_bad=2), kept)
    assert (len(found), sorted(found.about.unreadable)) == (38, ["class0/00.png", "class9/39.png"])


def test_centred_logits_undo_a_softmax() -> None:
    logits = np.random.default_rng(0).normal(0, 5, (20, 7)).astype(np.float32)
    softmax = probabilities(logits).astype(np.float32)
    np.testing.assert_allclose(softmax.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(centred_logits(softmax, 1e-38), logits - logits.mean(axis=1, keepdims=True), atol=1e-4)


def test_an_image_without_a_hash_has_a_row_all_the_same(models: list[Path], dataset: Dataset, tmp_path: Path) -> None:
    known = dataset.content_hashes
    vars(dataset)["content_hashes"] = (known[0], None, *known[2:])
    found = run(models, dataset, tmp_path / "kept.npz")
    assert [row.tobytes().hex() for row in found.hashes] == [known[0], "00" * 32, *known[2:]]
