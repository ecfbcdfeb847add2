"""What validation would refuse a run refuses before the work, and nothing that validation would take."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import tiny_xception
from origins import DOCUMENTS
from PIL import Image
from segmenters import colour_segmenter
from shapes import shapes

from edgex.api import Limits, QuantizeOptions, Recipe, ValidateOptions, load_target, run
from edgex.dataset import open_dataset
from edgex.errors import DataError, UsageError
from edgex.resources import demo_model, digits_file
from edgex.run import running
from edgex.run.fitting import expect_fit
from edgex.train.loop import TrainOptions
from edgex.write.keras import keras_file
from edgex.write.onnx import onnx_model

FAST = ValidateOptions(latency=False, threads=1)
FEW = QuantizeOptions(calib_count=8)


def recipe_in(folder: Path, **changes: Any) -> Recipe:
    """For the demo, into ``folder/out``."""
    parts = {"model": demo_model(), "calib": "digits", "data": "digits", "quantize": FEW, "validate": FAST}
    return Recipe(**{**parts, "target": load_target("cpu"), "output": folder / "out", **changes})


def save_arrays(file: Path, split: str, classes: int = 10) -> Path:
    """Some of the digits, of the first classes."""
    with np.load(digits_file()) as digits:
        chosen = np.flatnonzero((digits["split"] == split) & (digits["y"] < classes))[:60]
        np.savez(file, x=digits["x"][chosen], y=digits["y"][chosen])
    return file


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"calib": "seen.npz"}, "8 of 60 images .* are among those"),
        ({"train": "seen.npz", "quantize": replace(FEW, qat=TrainOptions())}, "60 of 60 images .* are among those"),
        ({"model": "trained.keras"}, "1 of 60 images .* are among those"),
        ({"data": "few.npz"}, "knows 10 classes, and .*few.npz has labels for 3"),
        ({"validate": replace(FAST, limits=Limits(max_pixel_drop=1))}, "--max-pixel-drop 1 .*seen.npz has no masks"),
        ({"data": "masks.npz"}, r"masks.npz has masks, and .* gives the shape \(10,\)"),
    ],
)
def test_what_validation_would_refuse_costs_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    seen = save_arrays(Path("seen.npz"), "test")
    save_arrays(Path("few.npz"), "test", classes=3)
    shapes(4, 24).write_npz(Path("masks.npz"))
    document = {**DOCUMENTS["trained"], "images": [open_dataset(seen, role="evaluation").content_hashes[7]]}
    Path("trained.keras").write_bytes(keras_file(tiny_xception(), document))
    named = {key: Path(value) if key == "model" else value for key, value in changes.items()}
    monkeypatch.setattr(running, "quantize", None)
    with pytest.raises(UsageError, match=words):
        run(recipe_in(tmp_path, **{"data": "seen.npz", **named}))


def test_a_damaged_image_in_both_sets_is_none_that_was_seen(tmp_path: Path) -> None:
    """All files that are cut to nothing are alike."""
    for name, split in (("calib", "calibration"), ("val", "test")):
        with np.load(digits_file()) as digits:
            for index in np.flatnonzero(digits["split"] == split)[:40]:
                file = tmp_path / name / str(digits["y"][index]) / f"{index}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(digits["x"][index, ..., 0]).save(file)
        (tmp_path / name / "0" / "cut.png").touch()
    recipe = recipe_in(tmp_path, calib=tmp_path / "calib", quantize=QuantizeOptions(max_bad=1))
    expect_fit(recipe, open_dataset(tmp_path / "val", role="evaluation", max_bad=1))


def test_a_damaged_mask_is_put_up_with(tmp_path: Path) -> None:
    """Masks whose classes have no names are read to count those."""
    for name, seed in (("calib", 1), ("val", 2)):
        shapes(34, 24, seed=seed).write_folder(tmp_path / name, classes=False)
    (tmp_path / "val" / "masks" / "even" / "0000.png").write_bytes(b"no image")
    (tmp_path / "net.onnx").write_bytes(onnx_model(colour_segmenter(24)).SerializeToString())
    said: dict[str, Any] = {"model": tmp_path / "net.onnx", "calib": tmp_path / "calib", "data": tmp_path / "val"}
    with pytest.raises(DataError, match="--max-bad 1"):
        run(recipe_in(tmp_path, **said))
    report = run(recipe_in(tmp_path, **said, validate=replace(FAST, max_bad=1)))
    assert report.validation.report.data.images == 33
    to_train = {"train": tmp_path / "val", "quantize": replace(FEW, qat=TrainOptions(), max_bad=1)}
    assert recipe_in(tmp_path, **said, **to_train).quantize_key()
