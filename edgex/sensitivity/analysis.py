"""The order of the steps: quantize, one layer at a time, what to keep in float, where the time goes."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from edgex.dataset import Dataset, check_disjoint, open_dataset
from edgex.errors import UsageError
from edgex.execute import logits_name, open_network
from edgex.graph.read import read_model
from edgex.manifest import file_record
from edgex.pipeline import Progress, QuantizeOptions, calibration_images, data_warnings, silent
from edgex.pipeline.calibration import expect_scores
from edgex.runtime import physical_cores
from edgex.sensitivity.ranking import Probes, rank_layers
from edgex.sensitivity.record import Cost, FileSpeed, Sensitivity, Suggestion
from edgex.sensitivity.simulation import Probe, cost, decoded
from edgex.sensitivity.speed import explain_speed
from edgex.sensitivity.subject import Subject, quantized
from edgex.sensitivity.suggestion import gain_db, keep_float_pattern, worth_keeping
from edgex.target import TargetProfile
from edgex.train.head import pixels_of


@dataclass(frozen=True)
class SensitivityOptions:
    """What ``edgex sensitivity`` can be told.

    Attributes:
        quantize: as ``edgex quantize`` would be told; the model's ends are float in any case.
        images: calibration images that the noise is measured on.
        count: labelled images at most.
        labels: CSV file with the columns path,label, for labelled images in a flat folder.
        profile: whether to say where the time of the INT8 files goes.
    """

    quantize: QuantizeOptions = field(default_factory=QuantizeOptions)
    images: int = 64
    count: int = 500
    labels: Path | None = None
    profile: bool = True


def measure_sensitivity(
    model: Path,
    target: TargetProfile,
    calib: str | Path,
    data: str | Path | None = None,
    options: SensitivityOptions | None = None,
    progress: Progress = silent,
) -> Sensitivity:
    """Find what the quantization of each layer costs, what is worth keeping in float, and where the time goes.

    Args:
        model: a classifier or a segmenter, a ``.keras``, ``.h5`` or float ``.onnx`` file.
        target: see :func:`edgex.target.load_target`.
        calib: images for calibration, as for :func:`edgex.pipeline.quantize`.
        data: labelled images that calibration does not see; without them the cost in accuracy stays unknown,
            as it does for a segmenter, for which they are not read.
        options: see there.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        UsageError: the labelled images are of other classes, or among those that calibration saw.
        ModelError: the model gives no scores of classes.
        EdgexError: as :func:`edgex.pipeline.quantize` and :func:`edgex.bench.operations.profile_operations`.
    """
    options = options or SensitivityOptions()
    recipe = replace(options.quantize, io="float")
    threads = recipe.threads or physical_cores()
    graph = read_model(model, input_size=recipe.input_size)
    expect_scores(graph, model, fix="Give a model that classifies images or their pixels.")
    labelled = None
    if data is not None and pixels_of(graph) is None:
        labelled = open_dataset(data, role="evaluation", labels=options.labels, max_bad=recipe.max_bad)
        labelled = labelled.sample(options.count)
    with TemporaryDirectory(prefix="edgex-") as folder:
        work = Path(folder)
        subject = quantized(model, target, calib, work / "int8", recipe, progress)
        _check_fit(subject, labelled)
        calibration = calibration_images(calib, recipe, options.images)
        probes = _probes(subject, calibration, labelled, work, threads, progress)
        rows = rank_layers(subject, probes, partial(progress, "layers"))
        whole = _whole(subject, probes)
        given, keeping = recipe.keep_float, partial(progress, "keep float")
        layers = worth_keeping(subject, rows, whole.snr_db, probes.noise, given, keeping)
        suggestion = None
        if layers:
            pattern = keep_float_pattern(layers, given)
            kept = replace(recipe, keep_float=pattern)
            other = quantized(model, target, calib, work / "kept", kept, lambda _, *counts: progress("prove", *counts))
            suggestion = _if_worth_it(Suggestion(keep_float=pattern, layers=layers, after=_whole(other, probes)), whole)
        speed: tuple[FileSpeed, ...] = ()
        if options.profile:
            speed = explain_speed(subject, threads, partial(progress, "profile"))
    return Sensitivity(
        model=model.name,
        model_sha256=file_record(model).sha256,
        target={"name": target.name, **target.options},
        images=len(probes.noise.images),
        layers=rows,
        whole=whole,
        suggestion=suggestion,
        speed=speed,
        warnings=tuple(_warnings(subject, data, labelled, target, options)),
    )


def _warnings(
    subject: Subject,
    data: str | Path | None,
    labelled: Dataset | None,
    target: TargetProfile,
    options: SensitivityOptions,
) -> Iterator[str]:
    yield from subject.written.warnings
    yield from [] if labelled is None else data_warnings(labelled)
    if data is not None and labelled is None:
        yield f"Only of classifiers is told which images are lost: {data} was not read."
    if options.profile and "tensorrt" in target.compiled:
        yield f"{target.name} runs its ONNX files in TensorRT, which was not asked: the profile is of this CPU."


def _check_fit(subject: Subject, labelled: Dataset | None) -> None:
    if labelled is None:
        return
    (classes,), labels = subject.graph.shapes[logits_name(subject.graph)], len(labelled.class_names)
    if classes != labels:
        raise UsageError(
            f"The model knows {classes} classes, and {labelled.source.path} has labels for {labels}.",
            fix="Give images of the classes that the model was trained on.",
        )
    check_disjoint({content for _, content in subject.plan.calibration["sources"]}, labelled)


def _probes(
    subject: Subject, calibration: Dataset, labelled: Dataset | None, work: Path, threads: int, progress: Progress
) -> Probes:
    """The images, decoded into ``work``, and what the float network says of them."""
    network = open_network(subject.graph, None, subject.form)

    def probe(what: str, dataset: Dataset) -> Probe:
        indices, images = decoded(dataset, subject.preprocessing, work / what)
        labels = None if dataset.labels is None else dataset.labels[indices]
        return Probe.of(network, images, labels, threads, partial(progress, f"float, {what}"))

    return Probes(probe("calibration", calibration), None if labelled is None else probe("labelled", labelled))


def _whole(subject: Subject, probes: Probes) -> Cost:
    """What quantizing the whole network costs."""
    return cost(open_network(subject.graph, subject.plan, subject.form), probes.noise, probes.labelled)


def _if_worth_it(suggestion: Suggestion, whole: Cost) -> Suggestion | None:
    """A suggestion that calibrating anew bears out."""
    assert whole.snr_db is not None
    return suggestion if gain_db(whole.snr_db, suggestion.after.snr_db, len(suggestion.layers)) >= 0 else None
