"""``sensitivity.json``: written, read again, and refused when damaged."""

import json
import re
from pathlib import Path

import pytest

from edgex.errors import DataError
from edgex.report import LayerSensitivity
from edgex.sensitivity import SENSITIVITY_NAME, Cost, Sensitivity, read_sensitivity

FOUND = Sensitivity(
    model="m.keras",
    model_sha256="ab" * 32,
    target={"name": "cpu"},
    images=64,
    layers=(
        LayerSensitivity(layer="conv", operation="Conv2D", snr_db=12.5, images=500, lost=3, gained=1),
        LayerSensitivity(layer="dense", operation="Dense", snr_db=None, images=500, lost=0, gained=0),
    ),
    whole=Cost(snr_db=10.0, images=500, lost=4, gained=1),
    suggestion=None,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / SENSITIVITY_NAME
    path.write_text(FOUND.to_json(), encoding="utf-8")
    return path


def test_layers_come_back_as_they_were(file: Path) -> None:
    assert read_sensitivity(file, "ab" * 32) == FOUND.layers
    assert json.loads(file.read_text())["schema"] == "edgex.sensitivity/1"


def test_those_of_another_model_do_not(file: Path) -> None:
    assert read_sensitivity(file, "cd" * 32) == ()


def test_no_file_is_no_layers(tmp_path: Path) -> None:
    assert read_sensitivity(tmp_path / SENSITIVITY_NAME, "ab" * 32) == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [("edgex.sensitivity/1", "edgex.report/1"), ("12.5", "NaN"), ("{", ""), ('"lost": 3', '"lost": -3')],
)
def test_a_damaged_file_is_refused(file: Path, old: str, new: str) -> None:
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=re.escape(str(file))) as refusal:
        read_sensitivity(file, "ab" * 32)
    assert "edgex sensitivity" in refusal.value.fix
