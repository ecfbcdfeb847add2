"""The stages of a run, one after the other, each only where something has changed."""

import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from edgex.dataset import Dataset, open_dataset
from edgex.errors import OutputError
from edgex.gate import GateResult, gate
from edgex.json_record import read_record
from edgex.manifest import file_record
from edgex.output import locked, real_path
from edgex.pipeline import PRUNING_NAME, Progress, QuantizeOptions, quantize, silent
from edgex.pipeline.stages import Stage, key_of
from edgex.predictions import PREDICTIONS_NAME
from edgex.prune.gain import Gain
from edgex.prune.record import PRUNING_SCHEMA, PruningRecord
from edgex.report import PAGE_NAME, REPORT_NAME, read_report
from edgex.run.fitting import expect_fit
from edgex.run.ledger import LEDGER_NAME, Entry, Ledger
from edgex.run.recipe import Recipe
from edgex.validate import Validation, renew_page, validate

KEPT_NAME = "quantize"
"""Where beside the ledger ``quantize`` keeps what took long."""


@dataclass(frozen=True)
class _Made:
    """What a stage wrote and said.

    Attributes:
        files: their names.
        gain: what pruning bought, if it pruned.
        stages: those within it, if it ran any.
    """

    files: Iterable[str]
    warnings: Iterable[str] = ()
    gain: Gain | None = None
    stages: tuple[Stage, ...] = ()


@dataclass(frozen=True)
class RunReport:
    """What a run hands back.

    Attributes:
        stages: in their order.
        validation: the report on the artifacts, and the gate's verdict.
        pruning: how the model was pruned; None where it was not.
        gain: what that bought; None where the model was pruned before.
    """

    stages: tuple[Stage, ...]
    validation: Validation
    pruning: PruningRecord | None = None
    gain: Gain | None = None

    @property
    def verdict(self) -> GateResult:
        return self.validation.verdict

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(warning for stage in self.stages for warning in stage.warnings)


def run(recipe: Recipe, progress: Progress = silent, *, fresh: bool = False) -> RunReport:
    """Quantize, validate and judge, as a recipe says.

    A stage is not run again while what it is given is the same, by hash, and what it wrote is there unchanged. Which
    stages have run is kept in ``.OUTPUT.stages`` beside the output directory, together with the results of pruning
    and training, which a change of what comes after them does not spoil.

    Args:
        recipe: see there.
        progress: called with what is done, how many are done, how many there are.
        fresh: whether to run every stage, whatever is there.

    Raises:
        OutputError: the directory is none of ours, is in use, or cannot be written. Other EdgexErrors as of
            :func:`edgex.pipeline.quantize`, :func:`edgex.validate.validate` and :func:`edgex.gate.gate`.
    """
    options = recipe.validate
    # Its faults should cost no training
    labelled = open_dataset(recipe.data, role="evaluation", labels=options.labels, max_bad=options.max_bad)
    folder = _stages_folder(recipe.output)
    ledger_file, kept = folder / LEDGER_NAME, folder / KEPT_NAME
    with locked(ledger_file):
        if fresh:
            ledger_file.unlink(missing_ok=True)
            shutil.rmtree(kept, ignore_errors=True)
        ledger = Ledger(ledger_file, recipe.output)
        quantized, entry = _stage(
            ledger, "quantize", recipe.quantize_key, partial(_quantize, recipe, labelled, kept, progress)
        )
        (validated,), _ = _stage(ledger, "validate", recipe.validate_key, partial(_validate, recipe, progress))
        begun = time.perf_counter()
        validation = _judge(recipe, ledger, new=not validated.cached)
        judged = Stage("gate", cached=False, seconds=time.perf_counter() - begun)
    if quantized[-1].cached:
        quantized = (*_found(recipe.quantize), *quantized)
    pruning = _pruning_of(recipe.output)
    return RunReport((*quantized, validated, judged), validation, pruning, entry.gain)


def _found(options: QuantizeOptions) -> Iterable[Stage]:
    """The stages within quantization that were not run, since that was not."""
    within = {"prune": options.prune, "train": options.qat}
    return [Stage(name, cached=True, seconds=0.0) for name, asked in within.items() if asked is not None]


def _pruning_of(output: Path) -> PruningRecord | None:
    file = output / PRUNING_NAME
    if not file.is_file():
        return None
    return read_record(file, PRUNING_SCHEMA, PruningRecord, fix="Run it again with --fresh.")


def _stages_folder(output: Path) -> Path:
    target = real_path(output)
    folder = target.with_name(f".{target.name}.stages")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{output} cannot be written: {folder}: {error.strerror}.",
            fix=f"See that there is a folder {output.parent}, and that you may write into it.",
        ) from error
    return folder


def _stage(
    ledger: Ledger, name: str, key_of_inputs: Callable[[], str], work: Callable[[], _Made]
) -> tuple[tuple[Stage, ...], Entry]:
    """What was run, the stage last and before it those within it, and what the ledger says of it."""
    begun = time.perf_counter()
    key = key_of_inputs()
    entry = ledger.find(name, key)
    if entry is not None:
        return (Stage(name, cached=True, seconds=time.perf_counter() - begun, warnings=entry.warnings),), entry
    made = work()
    entry = ledger.keep(name, key, made.files, made.warnings, made.gain)
    seconds = time.perf_counter() - begun - sum(stage.seconds for stage in made.stages)
    return (*made.stages, Stage(name, cached=False, seconds=seconds, warnings=entry.warnings)), entry


def _quantize(recipe: Recipe, labelled: Dataset, kept: Path, progress: Progress) -> _Made:
    expect_fit(recipe, labelled)
    written = quantize(
        recipe.model,
        recipe.target,
        recipe.calib,
        recipe.output,
        recipe.quantize,
        progress,
        train=recipe.train,
        baseline=recipe.baseline,
        stages=kept,
    )
    files = sorted(file.name for file in recipe.output.iterdir())
    return _Made(files, written.warnings, written.gain, written.stages)


def _validate(recipe: Recipe, progress: Progress) -> _Made:
    found = validate(recipe.output, recipe.data, options=recipe.validate, progress=progress)
    return _Made((PREDICTIONS_NAME, REPORT_NAME), found.report.warnings)


def _judge(recipe: Recipe, ledger: Ledger, *, new: bool) -> Validation:
    """Judge what was validated, and see to it that the page judges by the same limits.

    Args:
        recipe: see there.
        ledger: of the run.
        new: whether the page has just been written with the report.
    """
    report, page, limits = recipe.output / REPORT_NAME, recipe.output / PAGE_NAME, recipe.validate.limits
    key = key_of(report=file_record(report).sha256, limits=asdict(limits))
    if ledger.find("gate", key) is None:
        if not new:
            renew_page(recipe.output, recipe.data, recipe.validate)
        ledger.keep("gate", key, [page.name])
    return Validation(recipe.output, read_report(report), page, gate(report, limits))
