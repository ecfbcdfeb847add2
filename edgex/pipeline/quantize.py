"""``quantize`` and ``export``: the stages, one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgex.dataset import Dataset
from edgex.errors import UsageError
from edgex.lint.weight_storage import unpacked_warning
from edgex.manifest import file_record, write_manifest
from edgex.output import replace_directory
from edgex.pipeline.artifacts import PLAN_NAME, TRAINING_NAME, ArtifactWriter, WrittenDirectory, lint, placed
from edgex.pipeline.calibration import Calibrated, ModelFile, Progress, calibrate, read_model_file
from edgex.pipeline.options import QuantizeOptions
from edgex.pipeline.training import checkpoint_file, train_calibrated, training_images
from edgex.plan import QuantizationPlan
from edgex.records import Artifact
from edgex.target import TargetProfile


def _silent(_what: str, _done: int, _total: int) -> None:
    pass


@dataclass(frozen=True)
class Quantized:
    """A model quantized: what was read, what it became, and where that was written."""

    source: ModelFile
    calibrated: Calibrated
    written: WrittenDirectory


def quantize(
    model: Path,
    target: TargetProfile,
    calib: str | Path,
    output: Path,
    options: QuantizeOptions | None = None,
    progress: Progress = _silent,
    *,
    train: str | Path | None = None,
) -> WrittenDirectory:
    """Quantize a model and write the target's artifacts, its plan and a manifest.

    Training that is interrupted goes on where it stopped when the same is called again.

    Args:
        model: a ``.keras`` or ``.h5`` file.
        target: see :func:`edgex.target.load_target`.
        calib: images for calibration, see :mod:`edgex.dataset`; labels are not needed.
        output: directory to write; its parent exists.
        options: see there.
        progress: see there.
        train: images for training, where the options want it; labels help, and are not needed.

    Raises:
        EdgexError: as the stages raise it. ModelError if the linter finds fault with what was written. UsageError if
            there are options for training and no images.
    """
    return quantize_whole(model, target, calib, output, options, progress, train=train).written


def quantize_whole(
    model: Path,
    target: TargetProfile,
    calib: str | Path,
    output: Path,
    options: QuantizeOptions | None = None,
    progress: Progress = _silent,
    *,
    train: str | Path | None = None,
) -> Quantized:
    """:func:`quantize`, for who goes on with what it made."""
    options = options or QuantizeOptions()
    if options.qat is not None and train is None:
        raise UsageError("Training needs images.", fix="Give them with --train.")
    options.keep_float_pattern  # noqa: B018  raises before any work if it is no pattern
    with replace_directory(output) as work:
        source = read_model_file(model, options)
        to_train_on = None if options.qat is None or train is None else training_images(source, train, options)
        writer = ArtifactWriter(work, model.stem, target, source.graph)
        kinds = target.artifacts
        # Float first: after calibration their bytes would come on top of what the runtime then holds
        artifacts = {kind: writer.float(kind) for kind in kinds if kind.precision != "int8"}
        calibrated = calibrate(source, target, calib, options, progress)
        history = None
        if to_train_on is not None:
            trained = train_calibrated(source, calibrated, to_train_on, output, options, progress)
            calibrated, history = trained.calibrated, trained.result.history
            (work / TRAINING_NAME).write_text(trained.record, encoding="utf-8")
        plan = calibrated.plan
        (work / PLAN_NAME).write_text(plan.to_json(), encoding="utf-8")
        for kind in [kind for kind in kinds if kind.precision == "int8"]:
            progress("write", len(artifacts), len(kinds))
            named = kind if options.keep_float is None else kind._replace(precision="mixed")
            artifacts[kind] = writer.int8(named, calibrated.graph, plan, integer_io=options.io == "int8")
        progress("write", len(kinds), len(kinds))
        in_order = [artifacts[kind] for kind in kinds]
        lint(in_order, target, plan.kept_float)
        manifest = write_manifest(
            work,
            artifacts=in_order,
            source=file_record(model),
            data=_data_record(calib, calibrated.dataset),
            target={"name": target.name, **target.options},
            preprocessing=source.preprocessing.to_json(),
            recipe=options.recipe(),
        )
        warnings = [*calibrated.warnings, *_storage_warnings(in_order, target, plan)]
    checkpoint_file(output).unlink(missing_ok=True)
    there = placed(manifest.artifacts, output)
    written = WrittenDirectory(output, there, tuple(warnings), calibrated.rungs, history)
    return Quantized(source, calibrated, written)


def export(
    model: Path,
    target: TargetProfile,
    output: Path,
    options: QuantizeOptions | None = None,
    progress: Progress = _silent,
) -> WrittenDirectory:
    """Write the target's float artifacts and a manifest; arguments and errors as :func:`quantize`."""
    options = options or QuantizeOptions()
    kinds = [kind for kind in target.artifacts if kind.precision != "int8"]
    with replace_directory(output) as work:
        source = read_model_file(model, options)
        writer = ArtifactWriter(work, model.stem, target, source.graph)
        artifacts = []
        for done, kind in enumerate(kinds):
            progress("write", done, len(kinds))
            artifacts.append(writer.float(kind))
        progress("write", len(kinds), len(kinds))
        lint(artifacts, target, ())
        manifest = write_manifest(
            work,
            artifacts=artifacts,
            source=file_record(model),
            data={},
            target={"name": target.name, **target.options},
            preprocessing=source.preprocessing.to_json(),
            recipe={"input_size": options.input_size},
        )
    return WrittenDirectory(output, placed(manifest.artifacts, output), source.notes)


def _data_record(calib: str | Path, dataset: Dataset) -> dict[str, Any]:
    """What the manifest says of images that have been read; their names are in the plan."""
    return {
        "name": Path(calib).name,  # without its folder, so that the manifest does not depend on where it lay
        "images": len(dataset) - len(dataset.log.unreadable),
        "unreadable": len(dataset.log.unreadable),
        "turned_by_exif": len(dataset.log.reoriented),
        "other_files": dataset.ignored,
        "fingerprint": dataset.fingerprint,
    }


def _storage_warnings(artifacts: Sequence[Artifact], target: TargetProfile, plan: QuantizationPlan) -> list[str]:
    """Which artifacts hold their 4-bit weights in 8 bits."""
    if plan.weight_bits == 8:
        return []
    quantized = [artifact.path for artifact in artifacts if artifact.precision in ("int8", "mixed")]
    return [warning for path in quantized if (warning := unpacked_warning(path, target))]
