"""The record of an explanation: figures follow from the maps' correlations, and old reports stay what they were."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from reports import FLOAT, INT8, edit, outcome, predictions, report

from edgex.errors import DataError
from edgex.explanation import MOST_SIDE, ArtifactMaps, Explanation, ImageMaps
from edgex.report import Report, read_report

HEAT = ((0.0, 0.5), (1.0, 0.25))


def image(number: int, correlation: float | None, *, flipped: bool = False, **changes: Any) -> ImageMaps:
    maps = {"baseline": HEAT, "artifact": HEAT, **changes}
    return ImageMaps(image=f"{number}.png", label="class 0", flipped=flipped, correlation=correlation, **maps)


def maps(*images: ImageMaps, name: str = INT8, changed: int = 3) -> ArtifactMaps:
    return ArtifactMaps(name=name, method="grad-cam", changed=changed, images=images)


def explained(*artifacts: ArtifactMaps) -> Report:
    labels, baseline, other = outcome()
    found = predictions(labels, {FLOAT: baseline, INT8: other})
    return report(found, explanation=Explanation(artifacts=artifacts))


FOUND = maps(image(0, 0.25, flipped=True), image(1, 1.0), image(2, None), image(3, -0.5, flipped=True))


def test_figures_follow_from_the_correlations() -> None:
    assert (FOUND.mean, FOUND.mean_of_flipped) == (0.25, -0.125)
    assert (FOUND.worst, FOUND.worst_image) == (-0.5, "3.png")
    none = maps(image(0, None))
    assert (none.mean, none.mean_of_flipped, none.worst, none.worst_image) == (None, None, None, None)


def test_round_trip(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text(explained(FOUND).to_json())
    assert read_report(file) == explained(FOUND)
    assert json.loads(file.read_text())["explanation"]["artifacts"][0]["mean"] == 0.25


def test_a_report_that_explains_nothing_does_not_mention_it(tmp_path: Path) -> None:
    labels, baseline, other = outcome()
    plain = report(predictions(labels, {FLOAT: baseline, INT8: other}))
    assert "explanation" not in plain.to_json()
    assert "explanation" not in plain.document()
    file = tmp_path / "report.json"
    file.write_text(plain.to_json())
    assert read_report(file) == plain


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("mean",), 0.9),
        (("worst",), 0.0),
        (("mean_of_flipped",), None),
        (("changed",), 1),
        (("name",), "other.int8.onnx"),
        (("name",), FLOAT),
        (("method",), "guess"),
        (("images", 0, "correlation"), 1.5),
        (("images", 0, "correlation"), 0.5),
        (("images", 0, "baseline", 0), [0.5]),
        (("images", 0, "baseline", 0, 0), 2.0),
        (("images", 0, "artifact"), []),
        (("images", 0, "artifact"), [[]]),
        (("images", 0, "artifact"), [[0.5] * (MOST_SIDE + 1)]),
    ],
)
def test_an_edited_one_is_refused(path: tuple[str | int, ...], value: Any, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text(explained(FOUND).to_json())
    edit(file, "explanation", "artifacts", 0, *path, value=value)
    with pytest.raises(DataError):
        read_report(file)


def test_an_artifact_is_explained_once() -> None:
    with pytest.raises(ValidationError, match="none of its artifacts"):
        explained(FOUND, FOUND)
