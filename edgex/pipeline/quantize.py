"""``quantize`` and ``export``: the stages, one after the other."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgex.dataset import Dataset
from edgex.errors import UsageError
from edgex.graph.passes import prepare
from edgex.lint.weight_storage import unpacked_warning
from edgex.manifest import file_record, write_manifest
from edgex.output import replace_directory
from edgex.pipeline.artifacts import (
    PLAN_NAME,
    TRAINING_NAME,
    ArtifactWriter,
    WrittenDirectory,
    deflated_bytes,
    lint,
    placed,
    require_two_four,
)
from edgex.pipeline.calibration import Calibrated, ModelFile, calibrate, check_calibration, read_model_file
from edgex.pipeline.gain import compressed_sizes, latency_warnings, time_pruned
from edgex.pipeline.options import QuantizeOptions
from edgex.pipeline.origin import write_origin
from edgex.pipeline.progress import Progress, silent
from edgex.pipeline.pruning import check_prunable, has_zeros, prune_model
from edgex.pipeline.stages import Stage, unfinished
from edgex.pipeline.training import TRAINING_LIBRARIES, train_calibrated, training_images
from edgex.plan import QuantizationPlan
from edgex.prune.gain import Gain, PrunedLatency
from edgex.prune.record import PruningRecord
from edgex.records import Artifact
from edgex.runtime import physical_cores
from edgex.target import TargetProfile

EXPORT_OPTIONS = ("preprocess", "resize", "input_size")
"""Those that shape what ``export`` writes."""


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
    progress: Progress = silent,
    *,
    train: str | Path | None = None,
    baseline: Path | None = None,
    stages: Path | None = None,
    measure: bool = True,
) -> WrittenDirectory:
    """Quantize a model and write the target's artifacts, its plan and a manifest.

    Pruning and training that are interrupted go on where they stopped when the same is called again.

    Args:
        model: a ``.keras``, ``.h5`` or float ``.onnx`` file.
        target: see :func:`edgex.target.load_target`.
        calib: images for calibration, see :mod:`edgex.dataset`; labels are not needed.
        output: directory to write; its parent exists.
        options: see there.
        progress: see there.
        train: images for training, where the options want it; labels help, and are not needed.
        baseline: the model that the fp32 files are of, if ``model`` was made from another.
        stages: a folder that is to keep the results of pruning and training for the next call; without one they go
            when all is written.
        measure: whether to measure what pruning buys, beside the model as it was given.

    Raises:
        EdgexError: as the stages raise it. ModelError if the linter finds fault with what was written. UsageError if
            there are options for training and no images.
    """
    whole = quantize_whole(
        model,
        target,
        calib,
        output,
        options,
        progress,
        train=train,
        baseline=baseline,
        stages=stages,
        measure=measure,
    )
    return whole.written


def quantize_whole(
    model: Path,
    target: TargetProfile,
    calib: str | Path,
    output: Path,
    options: QuantizeOptions | None = None,
    progress: Progress = silent,
    *,
    train: str | Path | None = None,
    baseline: Path | None = None,
    stages: Path | None = None,
    measure: bool = True,
) -> Quantized:
    """:func:`quantize`, for who goes on with what it made."""
    options = options or QuantizeOptions()
    trains = options.prune is not None or options.qat is not None
    if trains and train is None:
        raise UsageError("Training needs images.", fix="Give them with --train.")
    options.keep_float_pattern  # noqa: B018  raises before any work if it is no pattern
    done: list[Stage] = []
    with unfinished(output, stages) as folder, replace_directory(output) as work:
        given = read_model_file(model, options)
        reference = _reference(given, baseline, options)
        if options.prune is not None:
            check_prunable(given, target, options.prune)
            check_calibration(given, calib, options)
        to_train_on = training_images(given, train, options) if trains and train is not None else None
        source, record = given, _pruning_of(given)
        latencies: tuple[PrunedLatency, ...] = ()
        if options.prune is not None and to_train_on is not None:
            begun = time.perf_counter()
            pruned = prune_model(given, to_train_on, target, options, folder, progress)
            source, record = replace(given, graph=prepare(pruned.graph)), pruned.record
            if measure:
                latencies = time_pruned(given, pruned, to_train_on, target, options, folder, progress)
            done.append(Stage("prune", pruned.found, time.perf_counter() - begun))
        writer = ArtifactWriter(work, model.stem, target)
        kinds = target.artifacts
        # Float first: after calibration their bytes would come on top of what the runtime then holds
        artifacts = {
            kind: writer.float(kind, reference.graph if kind.precision == "fp32" else source.graph)
            for kind in kinds
            if kind.precision != "int8"
        }
        calibrated = calibrate(source, target, calib, options, progress)
        history = None
        if options.qat is not None and to_train_on is not None:
            begun = time.perf_counter()
            trained = train_calibrated(
                source,
                calibrated,
                to_train_on,
                options,
                folder,
                progress,
                teacher=reference.graph,
                keep_zeros=has_zeros(record),
            )
            calibrated, history = trained.calibrated, trained.result.history
            (work / TRAINING_NAME).write_text(trained.record, encoding="utf-8")
            done.append(Stage("train", trained.found, time.perf_counter() - begun))
        write_origin(work, given.origin, record)
        plan = calibrated.plan
        (work / PLAN_NAME).write_text(plan.to_json(), encoding="utf-8")
        for kind in [kind for kind in kinds if kind.precision == "int8"]:
            progress("write", len(artifacts), len(kinds))
            named = kind if options.keep_float is None else kind._replace(precision="mixed")
            artifacts[kind] = writer.int8(named, calibrated.graph, plan, integer_io=options.io == "int8")
        progress("write", len(kinds), len(kinds))
        in_order = [artifacts[kind] for kind in kinds]
        lint(in_order, target, plan.kept_float)
        if record is not None and record.method == "2:4":
            require_two_four(in_order)
        manifest = write_manifest(
            work,
            artifacts=in_order,
            source=file_record(model),
            data=_data_record(calib, calibrated.dataset),
            target={"name": target.name, **target.options},
            preprocessing=source.preprocessing.to_json(),
            recipe=options.recipe(),
            training=_training_record(train, to_train_on, options),
            baseline=None if baseline is None else file_record(baseline),
            trained_by=() if to_train_on is None else TRAINING_LIBRARIES,
        )
        warnings = [*calibrated.warnings, *_storage_warnings(in_order, target, plan)]
        gain = None
        if options.prune is None:
            warnings += _reference_warnings(given, baseline)
        elif measure and to_train_on is not None:
            warnings += latency_warnings(latencies, options.prune, target)
            sizes = compressed_sizes(artifacts, given, to_train_on, target, options) if has_zeros(record) else ()
            gain = Gain(latencies=latencies, compressed=sizes)
    there = placed(manifest.artifacts, output)
    deflated = tuple(deflated_bytes(artifact.path) for artifact in there) if has_zeros(record) else ()
    written = WrittenDirectory(
        output, there, tuple(warnings), calibrated.rungs, history, record, deflated, gain, tuple(done)
    )
    return Quantized(source, calibrated, written)


def export(
    model: Path,
    target: TargetProfile,
    output: Path,
    options: QuantizeOptions | None = None,
    progress: Progress = silent,
    *,
    baseline: Path | None = None,
) -> WrittenDirectory:
    """Write the target's float artifacts and a manifest; arguments and errors as :func:`quantize`."""
    options = options or QuantizeOptions()
    kinds = [kind for kind in target.artifacts if kind.precision != "int8"]
    with replace_directory(output) as work:
        source = read_model_file(model, options)
        reference = _reference(source, baseline, options)
        writer = ArtifactWriter(work, model.stem, target)
        artifacts = []
        for done, kind in enumerate(kinds):
            progress("write", done, len(kinds))
            artifacts.append(writer.float(kind, reference.graph if kind.precision == "fp32" else source.graph))
        progress("write", len(kinds), len(kinds))
        lint(artifacts, target, ())
        write_origin(work, source.origin)
        manifest = write_manifest(
            work,
            artifacts=artifacts,
            source=file_record(model),
            data={},
            target={"name": target.name, **target.options},
            preprocessing=source.preprocessing.to_json(),
            recipe={name: options.recipe()[name] for name in EXPORT_OPTIONS},
            baseline=None if baseline is None else file_record(baseline),
        )
    warnings = (*source.notes, *_reference_warnings(source, baseline))
    return WrittenDirectory(output, placed(manifest.artifacts, output), warnings)


def _pruning_of(model: ModelFile) -> PruningRecord | None:
    """How a model was pruned, as its file says."""
    return model.origin if isinstance(model.origin, PruningRecord) else None


def _reference_warnings(model: ModelFile, baseline: Path | None) -> list[str]:
    """A sentence where a pruned model is its own reference."""
    record = _pruning_of(model)
    if record is None or baseline is not None:
        return []
    return [
        f"The fp32 files are of the pruned model. Give the original with --baseline {record.source['name']}, or as "
        "baseline in edgex.toml."
    ]


def _reference(model: ModelFile, path: Path | None, options: QuantizeOptions) -> ModelFile:
    """What the fp32 files are of: the model, or the one in ``path`` that it was made from.

    Raises:
        UsageError: that takes other images, or knows other classes. Other EdgexErrors as of reading it.
    """
    if path is None:
        return model
    baseline = read_model_file(path, options)
    ends = [
        [file.graph.shapes[name] for name in (file.graph.inputs[0].name, *file.graph.outputs)]
        for file in (baseline, model)
    ]
    if ends[0] != ends[1]:
        shown = ["from {} to {}".format(*shapes) for shapes in ends]
        raise UsageError(
            f"{path} goes {shown[0]}, and {model.path} goes {shown[1]}: one cannot be made from the other.",
            fix="Give the model that was pruned with --baseline.",
        )
    return baseline


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


def _training_record(train: str | Path | None, dataset: Dataset | None, options: QuantizeOptions) -> dict[str, Any]:
    """What the manifest says of images that were trained on, and of what else the result of training depends on."""
    if train is None or dataset is None:
        return {}
    return {
        "name": Path(train).name,
        "images": len(dataset),
        "fingerprint": dataset.fingerprint,
        "threads": options.threads or physical_cores(),
    }


def _storage_warnings(artifacts: Sequence[Artifact], target: TargetProfile, plan: QuantizationPlan) -> list[str]:
    """Which artifacts hold their 4-bit weights in 8 bits."""
    if plan.weight_bits == 8:
        return []
    quantized = [artifact.path for artifact in artifacts if artifact.precision in ("int8", "mixed")]
    return [warning for path in quantized if (warning := unpacked_warning(path, target))]
