"""What commands hand on: to the functions behind them, and from those to who called."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from edgex import pipeline, sensitivity
from edgex.cli import models
from edgex.cli.sensitivity import sensitivity as run_sensitivity
from edgex.pipeline import WrittenDirectory
from edgex.sensitivity import SensitivityOptions

DEMO = 'model = "demo"\ntarget = "cpu"\ncalib = "digits"\n'


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def test_sensitivity_is_of_what_quantize_would_make(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"cross_layer": True, "weight_bits": 4, "rounding": "learned", "correct_bias": True, "method": "mse"}
    seen: list[SensitivityOptions] = []

    def measured(*arguments: Any) -> None:
        seen.extend(each for each in arguments if isinstance(each, SensitivityOptions))
        raise KeyboardInterrupt

    monkeypatch.setattr(sensitivity, "measure_sensitivity", measured)
    (here / "edgex.toml").write_text(DEMO + "".join(f"{key} = {json.dumps(value)}\n" for key, value in said.items()))
    with pytest.raises(typer.Exit):
        run_sensitivity()
    assert {key: getattr(seen[0].quantize, key) for key in said} == said


def test_export_warns(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    written = WrittenDirectory(here / "out", (), ("The model is odd.",))
    monkeypatch.setattr(pipeline, "export", lambda *_: written)
    (here / "edgex.toml").write_text(DEMO)
    models.export(json=True)
    assert "The model is odd." in capsys.readouterr().err
