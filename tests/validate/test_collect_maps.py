"""Counts of maps are what a plain loop counts, and an interrupted run resumes where it stopped."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from segmenters import colour_segmenter, corrupted
from shapes import VOID, Shapes, shapes

from edgex.dataset import Dataset, open_dataset
from edgex.errors import DataError
from edgex.evaluate import Crews
from edgex.preprocess import Preprocessing
from edgex.segmentation.predictions import MapPredictions, load_map_predictions
from edgex.validate import collect_maps as module
from edgex.validate.collect_maps import collect_maps
from edgex.write.onnx import onnx_model

SIZE = 20
NAMES = ("float", "other", "worse")
IMAGES = 24


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, graph = tmp_path_factory.mktemp("models"), colour_segmenter(SIZE)
    paths = []
    for name, by in zip(NAMES, (0.0, 0.1, 0.4), strict=True):
        paths.append(folder / f"{name}.onnx")
        paths[-1].write_bytes(onnx_model(corrupted(graph, by)).SerializeToString())
    return paths


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return open_dataset(shapes(IMAGES, SIZE).write_folder(tmp_path / "d"), role="evaluation")


def run(
    models: list[Path], dataset: Dataset, kept: Path, key: str = "key", stop: int | None = None, threads: int = 2
) -> MapPredictions:
    def progress(done: int, _total: int) -> None:
        if stop is not None and done >= stop:
            raise KeyboardInterrupt

    with Crews(models, threads=threads) as crews:
        preprocessing = Preprocessing((SIZE, SIZE))
        return collect_maps(crews, NAMES, dataset, preprocessing, key=key, partial=kept, progress=progress)


def assert_equal(a: MapPredictions, b: MapPredictions) -> None:
    assert a.about == b.about
    for name in ("hashes", "masks", "signal"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    for model in NAMES:
        for column in ("equal", "noise", "maps"):
            np.testing.assert_array_equal(getattr(a.of[model], column), getattr(b.of[model], column))
        for column in ("starts", "cells", "pixels"):
            confusions = a.of[model].confusions, b.of[model].confusions
            np.testing.assert_array_equal(*(getattr(each, column) for each in confusions))
    for column in ("rows", "truth", "maps"):
        np.testing.assert_array_equal(getattr(a.kept, column), getattr(b.kept, column))


def test_an_interrupted_run_resumes(
    models: list[Path], dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 3)
    whole = run(models, dataset, tmp_path / "whole.npz")
    kept = tmp_path / "kept.npz"
    with pytest.raises(KeyboardInterrupt):
        run(models, dataset, kept, stop=10)
    done = len(load_map_predictions(kept))
    assert 10 <= done < IMAGES
    again = open_dataset(dataset.source.path, role="evaluation")
    decoded: list[str] = []
    source = again.source
    assert_equal(run(models, replace(again, source=Watched(source, decoded)), kept), whole)
    assert decoded == list(dataset.names[done:])
    assert whole.about.size == (SIZE, SIZE)
    assert [row.tobytes().hex() for row in whole.hashes] == list(dataset.content_hashes)
    assert [row.tobytes().hex() for row in whole.masks] == list(dataset.mask_hashes)


@pytest.mark.parametrize("call", [1, 11])
def test_a_stop_within_an_image_leaves_whole_rows(
    models: list[Path], dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """Of three models: in the first image, and in the fourth, some of whose counts are there."""
    whole = run(models, dataset, tmp_path / "whole.npz")
    kept, counted = tmp_path / "kept.npz", module.confusion_cells
    left = [call]

    def interrupted(*arguments: object) -> object:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return counted(*arguments)

    monkeypatch.setattr(module, "confusion_cells", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(models, dataset, kept)
    assert (len(load_map_predictions(kept)) if kept.exists() else 0) == (call - 1) // 3
    assert_equal(run(models, dataset, kept), whole)


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


def test_the_maps_that_change_most_are_kept(
    models: list[Path], dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 4)
    found = run(models, dataset, tmp_path / "kept.npz")
    rows = found.kept.rows.tolist()
    for number, model in enumerate(NAMES[1:], start=1):
        changed = found.changed(model)
        most = np.argsort(-changed, kind="stable")[:4].tolist()
        assert {row for row in most if changed[row]} <= set(rows)
        differ = (found.kept.maps[number] != found.kept.maps[0]).sum(axis=(1, 2))
        np.testing.assert_array_equal(differ, changed[rows])
    assert len(rows) <= 8
    np.testing.assert_array_equal(found.kept.truth, [dataset.mask(row) for row in rows])
    assert found.changed("float").max() == 0
    assert found.changed("worse").sum() > found.changed("other").sum() > 0


@pytest.mark.parametrize(("fit", "most"), [(2, 4), (0, 0)])
def test_large_maps_are_kept_of_fewer_images(
    models: list[Path], dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fit: int, most: int
) -> None:
    of_an_image = (1 + len(NAMES)) * SIZE * SIZE
    monkeypatch.setattr(module, "KEPT_BYTES", fit * of_an_image * len(NAMES[1:]) + 1)
    kept = run(models, dataset, tmp_path / "kept.npz").kept
    assert (0 < len(kept.rows) <= most) == (fit > 0)
    assert kept.truth.nbytes + kept.maps.nbytes <= module.KEPT_BYTES


def test_masks_that_are_all_void_are_found_before_anything_is_timed(models: list[Path], tmp_path: Path) -> None:
    made = shapes(3, SIZE)
    void = Shapes(made.images, np.full_like(made.masks, VOID)).write_npz(tmp_path / "a.npz")
    with pytest.raises(DataError, match="All pixels of all masks are void"):
        run(models, open_dataset(void, role="evaluation"), tmp_path / "kept.npz")


def test_another_key_is_begun_anew(models: list[Path], dataset: Dataset, tmp_path: Path) -> None:
    kept = tmp_path / "kept.npz"
    with pytest.raises(KeyboardInterrupt):
        run(models, dataset, kept, stop=10)
    assert run(models, dataset, kept, key="other").about.key == "other"
    kept.write_bytes(b"no zip")
    assert len(run(models, dataset, kept)) == IMAGES
