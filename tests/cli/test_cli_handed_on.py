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
from edgex.settings import Settings

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
    monkeypatch.setattr(pipeline, "export", lambda *_, **__: written)
    (here / "edgex.toml").write_text(DEMO)
    models.export(json=True)
    assert "The model is odd." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("own", "given", "taken"),
    [
        ({"prune": "channels", "sparsity": 0.3}, "channels", (0.3, None)),
        ({"prune": "channels", "sparsity": 0.3}, "2:4", (None, None)),
        ({"prune": "channels", "prune_latency": 0.6}, None, (None, 0.6)),
        ({"prune": "channels", "prune_latency": 0.6}, "magnitude", (None, None)),
        ({"sparsity": 0.3}, "magnitude", (0.3, None)),
    ],
)
def test_how_much_to_prune_is_said_of_a_method(
    here: Path, own: dict[str, object], given: str | None, taken: tuple[float | None, float | None]
) -> None:
    (here / "edgex.toml").write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in own.items()))
    options = Settings().prune_options(given)
    assert options is not None
    assert (options.sparsity, options.latency) == taken


@pytest.mark.parametrize(
    ("own", "method", "flag", "insists"),
    [
        ({"force": True}, "2:4", None, True),
        ({"force": True}, "2:4", False, False),
        ({"force": False}, "2:4", True, True),
        ({"prune": "2:4", "force": True}, None, None, True),
        ({"prune": "channels", "force": True}, "2:4", None, False),
        ({}, "2:4", None, False),
    ],
)
def test_a_method_is_insisted_on(
    here: Path, own: dict[str, object], method: str | None, flag: bool | None, insists: bool
) -> None:
    (here / "edgex.toml").write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in own.items()))
    options = Settings().prune_options(method, force=flag)
    assert options is not None
    assert options.force is insists


def test_a_baseline_is_of_the_model_beside_it(here: Path) -> None:
    other = Path("other.keras")
    assert Settings().baseline(None, None) is None
    (here / "edgex.toml").write_text('model = "pruned.keras"\nbaseline = "before.keras"\n')
    assert Settings().baseline(None, None) == Path("before.keras")
    assert Settings().baseline(other, None) == other
    assert Settings().baseline(None, Path("another.keras")) is None
