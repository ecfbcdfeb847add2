"""Quantization-aware training between calibration and writing, resumable over runs."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgex.dataset import Dataset, open_dataset
from edgex.errors import UsageError
from edgex.graph.ir import Graph
from edgex.manifest import library_versions
from edgex.pipeline.calibration import Calibrated, ModelFile, data_warnings
from edgex.pipeline.options import QuantizeOptions
from edgex.pipeline.progress import Progress
from edgex.pipeline.stages import digest, key_of
from edgex.runtime import physical_cores
from edgex.train.batches import hold_out, what_is_taught
from edgex.train.head import classes_of
from edgex.train.loop import TrainOptions, TrainResult, train
from edgex.train.network import logits_graph, require_tensorflow

TRAINING_SCHEMA = "edgex.training/1"
TRAINING_LIBRARIES = ("tensorflow", "tensorflow-model-optimization", "tf-keras")


@dataclass(frozen=True)
class Trained:
    """What training made of a calibrated model.

    Attributes:
        calibrated: the same, with trained weights and ranges.
        result: how it went.
        record: for ``training.json``.
    """

    calibrated: Calibrated
    result: TrainResult
    record: str

    @property
    def found(self) -> bool:
        """Whether an earlier run had done it."""
        return self.result.resumed == self.result.steps


def train_calibrated(
    model: ModelFile,
    calibrated: Calibrated,
    dataset: Dataset,
    options: QuantizeOptions,
    folder: Path,
    progress: Progress,
    *,
    teacher: Graph,
    keep_zeros: bool,
) -> Trained:
    """Train on the images of :func:`training_images`; errors as :func:`edgex.pipeline.quantize`.

    Args:
        folder: where what is done so far lies.
        teacher: prepared, the float network to answer as.
        keep_zeros: whether weights that are zero stay zero.
    """
    assert options.qat is not None
    threads = options.threads or physical_cores()
    folder.mkdir(exist_ok=True)
    key = training_key(
        network=digest(calibrated.graph),
        teacher=digest(teacher),
        plan=calibrated.plan.to_json(),
        images=dataset.fingerprint,
        preprocessing=model.preprocessing.to_json(),
        options=asdict(options.qat),
        threads=threads,
    )
    result = train(
        calibrated.graph,
        calibrated.plan,
        dataset,
        model.preprocessing,
        options.qat,
        teacher=teacher,
        checkpoint=folder / "training.npz",
        key=key,
        threads=threads,
        progress=progress,
        keep_zeros=keep_zeros,
    )
    assert result.plan is not None
    warnings = (*calibrated.warnings, *data_warnings(dataset), *_warnings(result))
    trained = replace(calibrated, graph=result.graph, plan=result.plan, warnings=warnings)
    return Trained(trained, result, _record(result, dataset, options.qat, threads))


def training_images(model: ModelFile, images: str | Path, options: QuantizeOptions) -> Dataset:
    """Open them, and see that training can begin, before calibration takes its time.

    Raises:
        RuntimeMissingError: the train extra is not installed.
        ModelError: losses cannot be had of the model's answers.
        UsageError: the labels are of other classes than the model's, or there are fewer images than a batch. Other
            EdgexErrors as of :func:`edgex.dataset.open_dataset`.
    """
    require_tensorflow()
    logits_graph(model.graph)
    dataset = open_dataset(images, role="training", max_bad=options.max_bad)
    if what_is_taught(model.graph, dataset).labelled and not tells_its_classes(model.graph, dataset):
        raise UsageError(
            f"{model.path} knows {classes_of(model.graph)} classes, and {dataset.source.path} has labels for "
            f"{len(dataset.class_names)}.",
            fix="Give images of the classes that the model was trained on, or images without labels.",
        )
    for training in (None if options.prune is None else options.prune.train, options.qat):
        if training is not None:
            hold_out(dataset, training.seed, training.batch)
    return dataset


def tells_its_classes(graph: Graph, dataset: Dataset) -> bool:
    """Whether labels or masks are of the classes that a network tells apart; of those that are counted may be fewer."""
    classes, labels = classes_of(graph), len(dataset.class_names)
    return labels <= classes if dataset.counted else labels == classes


def training_key(**parts: Any) -> str:
    """What must be the same for work that took long to be taken up again: all parts, and the code that did it."""
    from edgex import __version__

    return key_of(**parts, versions={"edgex": __version__, **library_versions(TRAINING_LIBRARIES)})


def _record(result: TrainResult, dataset: Dataset, options: TrainOptions, threads: int) -> str:
    """Deterministic JSON: how training went, and the hash of each image it saw."""
    document: Mapping[str, Any] = {
        "schema": TRAINING_SCHEMA,
        "options": asdict(options),
        "labelled": result.labelled,
        "steps": result.steps,
        "history": {**asdict(result.history), "losses": result.history.finite_losses},
        "best_epoch": result.history.best,
        "threads": threads,
        "versions": library_versions(TRAINING_LIBRARIES),
        "images": sorted({content for content in dataset.content_hashes if content}),
    }
    return json.dumps(document, indent=1) + "\n"


def _warnings(result: TrainResult) -> list[str]:
    if result.history.best > 0:
        return []
    return ["No epoch of training improved on calibration alone, on the images held out, so its weights were not kept."]
