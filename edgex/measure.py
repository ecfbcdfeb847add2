"""Accuracy and latency of artifacts, by what the directory they lie in says of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgex.dataset import check_disjoint, open_dataset
from edgex.documents import read_json
from edgex.errors import ModelError, OutputError
from edgex.evaluate import EvalResult, MapResult, evaluate, evaluate_maps
from edgex.manifest import MANIFEST_NAME, Manifest, read_manifest
from edgex.pipeline import PLAN_NAME, PRUNING_NAME, TRAINED_NAME, TRAINING_NAME, data_warnings
from edgex.preprocess import Preprocessing, Resize, Scale
from edgex.runtime import open_runner


@dataclass(frozen=True)
class Evaluation:
    """What ``eval`` hands back: a result for each file, and sentences about what is odd in the images.

    The results are all of classifiers if the images have labels, all of networks that score pixels if they have masks.
    """

    results: tuple[EvalResult | MapResult, ...]
    warnings: tuple[str, ...]


def evaluate_artifacts(
    paths: Sequence[Path],
    data: str | Path,
    *,
    labels: Path | None = None,
    preprocess: Scale | None = None,
    resize: Resize | None = None,
    max_bad: int = 0,
    runtime: str | None = None,
    python: Path | None = None,
    threads: int | None = None,
    external_data: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Evaluate model files on images with labels or masks, each preprocessed as its manifest says.

    Args:
        paths: ``.tflite`` and ``.onnx`` files, ours or not.
        data: see :func:`edgex.dataset.open_dataset`; ``labels`` and ``max_bad`` are its.
        preprocess: None for what the manifest beside a file says, or ``xception`` where there is none.
        resize: None likewise, or ``stretch``.
        runtime: see :func:`edgex.evaluate.evaluate`, as for the rest.

    Raises:
        UsageError: some of the images are among those that the artifacts were calibrated with or trained on.
        ModelError: a file without a manifest reads no image with its channels last.
    """
    dataset = open_dataset(data, role="evaluation", labels=labels, max_bad=max_bad)
    for directory in dict.fromkeys(path.parent for path in paths):
        check_disjoint(images_seen(directory), dataset)
    groups: dict[Preprocessing, list[Path]] = {}
    for path in paths:
        declared = _preprocessing(path, preprocess, resize, runtime, python, external_data)
        groups.setdefault(declared, []).append(path)
    how: dict[str, Any] = {
        "runtime": runtime,
        "python": python,
        "threads": threads,
        "external_data": external_data,
        "progress": progress,
    }
    results: list[EvalResult | MapResult] = []
    for declared, group in groups.items():
        if dataset.segmented:
            results += evaluate_maps(group, dataset, declared, **how)
        else:
            results += evaluate(group, dataset, declared, **how)
    by_path = {each.path: each for each in results}
    return Evaluation(tuple(by_path[path] for path in paths), tuple(data_warnings(dataset)))


def image_feeds(
    paths: Sequence[Path], data: str | Path, *, python: Path | None = None, external_data: bool = False
) -> dict[Path, NDArray[Any]]:
    """The first image of a dataset for each file, as a batch of one in the type that the file takes.

    Raises:
        DataError: there is no readable image. EdgexError as :func:`evaluate_artifacts`.
    """
    dataset = open_dataset(data, role="calibration")
    feeds = {}
    for path in paths:
        preprocessing = _preprocessing(path, None, None, None, python, external_data)
        _, images = next(dataset.batches(preprocessing, batch=1, workers=1))
        with open_runner(path, threads=1, python=python, external_data=external_data) as runner:
            feeds[path] = runner.to_input(images)
    return feeds


def _manifest(path: Path) -> Manifest | None:
    """The manifest that speaks of an artifact, if there is one."""
    if not (path.parent / MANIFEST_NAME).is_file():
        return None
    manifest = read_manifest(path.parent)
    return manifest if any(artifact.path.name == path.name for artifact in manifest.artifacts) else None


def _preprocessing(
    path: Path,
    scale: Scale | None,
    resize: Resize | None,
    runtime: str | None,
    python: Path | None,
    external_data: bool,
) -> Preprocessing:
    manifest = _manifest(path)
    if manifest is not None:
        declared = Preprocessing.from_json(manifest.preprocessing, str(path.parent / MANIFEST_NAME))
    else:
        with open_runner(path, runtime=runtime, threads=1, python=python, external_data=external_data) as runner:
            shape = runner.input_shape
        if len(shape) != 3 or shape[2] not in (1, 3):
            raise ModelError(
                f"{path} reads {shape}, not an image's height, width and 1 or 3 channels.",
                fix="Give a model that reads one image with its channels last.",
            )
        declared = Preprocessing(size=(shape[0], shape[1]), channels=shape[2])
    return replace(declared, scale=scale or declared.scale, resize=resize or declared.resize)


def images_seen(directory: Path) -> set[str]:
    """Content hashes of the images that the artifacts in a directory were pruned, calibrated or trained with."""

    def listed(document: Any) -> set[str]:
        return set(document["images"])

    calibrated = _hashes(directory / PLAN_NAME, lambda plan: {content for _, content in plan["calibration"]["sources"]})
    return calibrated.union(
        *(_hashes(directory / name, listed) for name in (TRAINING_NAME, PRUNING_NAME, TRAINED_NAME))
    )


def _hashes(path: Path, hashes: Callable[[Any], set[str]]) -> set[str]:
    if not path.is_file():
        return set()
    try:
        return hashes(read_json(path))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise OutputError(f"{path} cannot be read: {error}.", fix="Write it anew with edgex quantize.") from error
