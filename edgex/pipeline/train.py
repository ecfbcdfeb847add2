"""``train``: a network and labelled images in, a trained ``.keras`` file out."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgex.dataset import Dataset, open_dataset
from edgex.errors import DataError
from edgex.json_record import to_document
from edgex.manifest import artifact_record, library_versions
from edgex.networks import of_zoo
from edgex.output import locked, replace_files
from edgex.pipeline.calibration import data_warnings, preprocessing_of
from edgex.pipeline.origin import refuse_to_replace
from edgex.pipeline.progress import Progress, silent
from edgex.pipeline.pruning import pruning_form
from edgex.pipeline.stages import digest, unfinished
from edgex.pipeline.start import IMAGENET, Start, start_of
from edgex.pipeline.training import TRAINING_LIBRARIES, training_key
from edgex.preprocess import Preprocessing, Resize, Scale
from edgex.records import Artifact, ArtifactKind
from edgex.runtime import physical_cores
from edgex.train.batches import Augment
from edgex.train.loop import TrainOptions, TrainResult, train
from edgex.train.network import require_tensorflow
from edgex.train.recipes import RECIPES, Recipe, recipe_named
from edgex.train.record import TRAINED_SCHEMA, TrainedRecord
from edgex.write.keras import keras_file


@dataclass(frozen=True)
class TrainModelOptions:
    """How to train from labels; the defaults are what ``edgex train`` does untold.

    Attributes:
        recipe: one of :data:`edgex.train.recipes.RECIPES`.
        epochs: passes over the images; None, here and below, for the recipe's own.
        batch: images in a step.
        learning_rate: at its highest.
        augment: see :class:`edgex.train.batches.Batches`.
        architecture: options of a network of the zoo.
        input_size: height and width in pixels; None for the file's own, or what suits the images.
        weights: a model file to take weights from where names and shapes match, or ``imagenet``.
        seed: of fresh weights, and of all that training draws.
        preprocess: how pixels are scaled; None for as a file that is trained further says, else for the model's own
            layer if it has one, else ``xception``.
        resize: how images are brought to the input size; None for as the file says, else ``stretch``.
        max_bad: unreadable images to put up with.
        threads: None for the physical cores.

    Raises:
        UsageError: there is no such recipe.
    """

    recipe: str = next(iter(RECIPES))
    epochs: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    augment: Augment | None = None
    architecture: Mapping[str, Any] = field(default_factory=dict)
    input_size: int | None = None
    weights: str | None = None
    seed: int = 0
    preprocess: Scale | None = None
    resize: Resize | None = None
    max_bad: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        recipe_named(self.recipe)

    def of_recipe(self, *, trained_before: bool) -> tuple[Recipe, TrainOptions]:
        """The recipe, and all that may differ from it."""
        recipe = recipe_named(self.recipe)
        rate = recipe.learning_rate * recipe.fine_tuning if trained_before else recipe.learning_rate
        return recipe, TrainOptions(
            epochs=self.epochs or recipe.epochs,
            batch=self.batch or recipe.batch,
            learning_rate=rate if self.learning_rate is None else self.learning_rate,
            augment=self.augment or recipe.augment,
            seed=self.seed,
        )


@dataclass(frozen=True)
class TrainReport:
    """What ``train`` hands back.

    Attributes:
        artifact: the ``.keras`` file.
        notes: sentences about what was chosen.
        warnings: sentences about what is odd but usable.
    """

    artifact: Artifact
    record: TrainedRecord
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def train_model(
    model: str | Path,
    images: str | Path,
    output: Path,
    options: TrainModelOptions | None = None,
    progress: Progress = silent,
    *,
    logs: Path | None = None,
    say: Callable[[str], None] = lambda _note: None,
) -> TrainReport:
    """Train a network from labels, or masks, and write it as a ``.keras`` file, which Keras opens.

    Interrupted, it goes on where it stopped when the same is called again.

    Args:
        model: a name of :data:`edgex.zoo.MODELS`, or a model file to train further, see :mod:`edgex.networks`.
        images: with labels or masks, see :mod:`edgex.dataset`.
        output: the file to write.
        options: see there.
        logs: a folder for what TensorBoard shows.
        say: called with each note before training begins.

    Raises:
        EdgexError: as the stages raise it. DataError if there are no labels. UsageError as of
            :func:`edgex.pipeline.start.start_of`.
    """
    options = options or TrainModelOptions()
    read = [] if of_zoo(Path(model)) else [str(model)]
    read += [options.weights] if options.weights not in (None, IMAGENET) else []
    refuse_to_replace(output, TrainedRecord, "train", *map(Path, read))
    with locked(output), unfinished(output) as folder, replace_files([output]) as (work,):
        dataset = _labelled(images, options)
        start = start_of(
            model,
            dataset,
            architecture=options.architecture,
            input_size=options.input_size,
            weights=options.weights,
            seed=options.seed,
        )
        require_tensorflow()
        for note in start.notes:
            say(note)
        preprocessing = preprocessing_of(start.graph, start.origin, options.preprocess, options.resize)
        job = _Job(start, dataset, preprocessing, options)
        result = job.trained(folder, logs, progress)
        record = job.record(result)
        work.write_bytes(keras_file(result.graph, to_document(TRAINED_SCHEMA, record)))
    artifact = artifact_record(output, ArtifactKind("fp32", "keras"))
    return TrainReport(artifact, record, start.notes, (*data_warnings(dataset), *_warnings(result)))


def _labelled(images: str | Path, options: TrainModelOptions) -> Dataset:
    """Images of which is known what they show.

    Raises:
        DataError: there are no labels, or all images are of one class.
    """
    dataset = open_dataset(images, role="training", max_bad=options.max_bad)
    path = dataset.source.path
    if not dataset.segmented and dataset.labels is None:
        raise DataError(
            f"{path} holds {len(dataset)} images without labels, and there is no other network to learn from.",
            fix="Put each into a folder named after its class (class/name.jpg); for segmentation put a mask into "
            "masks/ for each image in images/.",
        )
    if len(dataset.class_names) < 2:
        raise DataError(
            f"All images in {path} are of one class, so that there is nothing to tell apart.",
            fix="Give images of at least two classes.",
        )
    return dataset


@dataclass(frozen=True)
class _Job:
    """One network to train, and on what."""

    start: Start
    dataset: Dataset
    preprocessing: Preprocessing
    options: TrainModelOptions

    @property
    def threads(self) -> int:
        return self.options.threads or physical_cores()

    @property
    def recipe(self) -> tuple[Recipe, TrainOptions]:
        return self.options.of_recipe(trained_before=self.start.trained_before)

    @property
    def key(self) -> str:
        """What must be the same for work to be of this job."""
        recipe, training = self.recipe
        return training_key(
            network=digest(self.start.graph),
            images=self.dataset.fingerprint,
            preprocessing=self.preprocessing.to_json(),
            recipe=asdict(recipe),
            training=asdict(training),
            threads=self.threads,
        )

    def trained(self, folder: Path, logs: Path | None, progress: Progress) -> TrainResult:
        """What is done so far lies in ``folder``."""
        folder.mkdir(exist_ok=True)
        recipe, training = self.recipe
        return train(
            pruning_form(self.start.graph),
            None,
            self.dataset,
            self.preprocessing,
            training,
            checkpoint=folder / "training.npz",
            key=self.key,
            threads=self.threads,
            progress=progress,
            recipe=recipe,
            logs=logs,
        )

    def record(self, result: TrainResult) -> TrainedRecord:
        _, training = self.recipe
        said = {**asdict(self.options), **asdict(training), "threads": self.threads}
        del said["weights"]  # a path says nothing elsewhere
        seen = {content for content in self.dataset.content_hashes if content}
        return TrainedRecord(
            key=self.key,
            source=self.start.source,
            losses=result.history.finite_losses,
            accuracies=result.history.accuracies,
            best_epoch=result.history.best,
            options=json.loads(json.dumps(said)),
            versions=library_versions(TRAINING_LIBRARIES),
            images=tuple(sorted(seen | self.start.images)),
            weights=self.start.weights,
            recipe=self.options.recipe,
            measure=result.history.measure,
            steps=result.steps,
            classes=self.dataset.class_names,
            preprocessing=self.preprocessing.to_json(),
        )


def _warnings(result: TrainResult) -> list[str]:
    if result.history.best > 0:
        return []
    return ["No epoch of training improved on the images held out, so the weights are those from before."]
