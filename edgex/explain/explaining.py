"""From files and the predictions they made to maps, image by image."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgex.dataset import Dataset, DecodingLog
from edgex.explain.agreement import correlation, heat
from edgex.explain.grad_cam import Mapper, grad_cam
from edgex.explain.head import Head, find_head
from edgex.explain.occlusion import gray_patch, occlusion_map
from edgex.explanation import MOST_SIDE, ArtifactMaps, Explanation, ImageMaps, Method
from edgex.exposed import exposed
from edgex.graph.ir import Array
from edgex.lint.onnx_file import read_onnx_file
from edgex.predictions import Predictions
from edgex.preprocess import Preprocessing
from edgex.runtime import open_runner

FLIPPED = 16
"""Images at most of those whose class changed, and"""

OTHERS = 16
"""of all others."""

FEWEST_POSITIONS = 9
"""Of a feature map: below 3×3 it hardly says where."""

LEAST_DROP = 0.01
"""Of a probability: where no patch changes it by more, an occlusion map counts as the same everywhere."""

OTHER_END = "the network does not end in global average pooling and one dense layer"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Subject:
    """A file, what the predictions call it, and the runtime that made them."""

    name: str
    path: Path
    runtime: str


def explain(
    baseline: Subject,
    artifacts: Sequence[Subject],
    dataset: Dataset,
    preprocessing: Preprocessing,
    predictions: Predictions,
    *,
    threads: int,
    python: Path | None = None,
    progress: Progress,
) -> Explanation:
    """Maps of a baseline and of artifacts, for the class that the baseline gives each image.

    On images whose class changed, up to :data:`FLIPPED`, and up to :data:`OTHERS` others; the same for the same
    predictions.

    Args:
        baseline: of the files.
        artifacts: to compare with it.
        dataset: the images that the predictions are of.
        preprocessing: of all files.
        predictions: what the files said.
        threads: that one inference may use.
        python: the interpreter that has the runtimes; None for this one. Grad-CAM's values are read by this one's ONNX
            Runtime in any case.
        progress: called with what is done, how many are done, how many there are.

    Raises:
        DataError: an image cannot be read any more. EdgexErrors as :func:`edgex.runtime.open_runner`.
    """
    chosen = [_chosen(predictions, artifact.name) for artifact in artifacts]
    total = 2 * sum(map(len, chosen))
    progress("explain", 0, total)
    found: list[ArtifactMaps] = []
    for artifact, rows in zip(artifacts, chosen, strict=True):
        done = 2 * sum(len(each.images) for each in found)

        def one_more(count: int, done: int = done) -> None:
            progress("explain", done + count, total)

        images = _Images(dataset, preprocessing, [predictions.about.names[row] for row in rows])
        labels = predictions.of[baseline.name].top1[rows].tolist()
        method, reason, maps = _maps(baseline, artifact, images, labels, threads, python, one_more)
        found.append(_record(artifact, predictions, rows, labels, method, reason, maps))
    return Explanation(artifacts=tuple(found))


@dataclass(frozen=True)
class _Images:
    """Some images of a dataset, preprocessed one after the other."""

    dataset: Dataset
    preprocessing: Preprocessing
    names: Sequence[str]

    @property
    def blank(self) -> Array:
        """A batch of one image of zeros."""
        return np.zeros((1, *self.preprocessing.size, self.preprocessing.channels), np.float32)

    def __iter__(self) -> Iterator[Array]:
        items = {item.name: item for item in self.dataset.items}
        some = tuple(items[name] for name in self.names)
        # What could be read before is to be read again, or missed
        readable = replace(self.dataset, items=some, max_bad=0, log=DecodingLog())
        for _, (image,) in readable.batches(self.preprocessing):
            yield image


def _chosen(predictions: Predictions, artifact: str) -> list[int]:
    """Rows of the predictions: the flipped of which the artifact is surest, and others from all over."""
    first = predictions.of[predictions.about.models[0]]
    own = predictions.of[artifact]
    flipped = np.flatnonzero(first.top1 != own.top1)
    flipped = flipped[np.argsort(-own.probability[flipped], kind="stable")]
    same = np.flatnonzero(first.top1 == own.top1)
    spread = np.unique(np.linspace(0, len(same) - 1, min(OTHERS, len(same))).round().astype(int))
    rows: list[int] = [*flipped[:FLIPPED].tolist(), *same[spread].tolist()]
    return rows


def _maps(
    baseline: Subject,
    artifact: Subject,
    images: _Images,
    labels: Sequence[int],
    threads: int,
    python: Path | None,
    one_more: Callable[[int], None],
) -> tuple[Method, str, list[tuple[Array, Array]]]:
    """Pairs of maps by the best method that both files allow, and why it is not the first one."""
    reason, heads = _heads((baseline.path, artifact.path), images, threads)
    made: list[list[Array]] = []
    for subject, head in zip((baseline, artifact), heads, strict=True):
        with _mapper(subject, head, images.preprocessing, threads, python) as mapper:
            own: list[Array] = []
            for image, label in zip(images, labels, strict=True):
                own.append(mapper(image, label))
                one_more(len(made) * len(labels) + len(own))
            made.append(own)
    return "occlusion" if reason else "grad-cam", reason, [*zip(*made, strict=True)]


def _heads(paths: tuple[Path, Path], images: _Images, threads: int) -> tuple[str, tuple[Head | None, Head | None]]:
    """The ends of two files; or no end, and why they have none that tells where."""
    none = (None, None)
    for path in paths:
        if path.suffix.lower() != ".onnx":
            return f"{path.suffix.lower()} files do not give the values inside", none
    files = [read_onnx_file(path) for path in paths]
    one, other = map(find_head, files)
    if one is None or other is None:
        return OTHER_END, none
    shapes = set()
    for file, head in zip(files, (one, other), strict=True):
        with exposed(file, [head.features], threads) as run:
            (features,) = run(images.blank)
        if features.ndim != 4 or features.shape[1] != len(head.weights):
            return OTHER_END, none
        shapes.add(features.shape[2:])
    sizes = [rows * columns for rows, columns in shapes]
    if len(shapes) > 1 or min(sizes) < FEWEST_POSITIONS or max(map(max, shapes)) > MOST_SIDE:
        listed = " and ".join(f"{rows}×{columns}" for rows, columns in sorted(shapes))
        return f"the features that are pooled have {listed} positions", none
    return "", (one, other)


@contextmanager
def _mapper(
    subject: Subject, head: Head | None, preprocessing: Preprocessing, threads: int, python: Path | None
) -> Iterator[Mapper]:
    with ExitStack() as stack:
        if head is not None:
            yield stack.enter_context(grad_cam(read_onnx_file(subject.path), head, threads))
            return
        runner = stack.enter_context(open_runner(subject.path, runtime=subject.runtime, threads=threads, python=python))
        patch = gray_patch(preprocessing)
        yield lambda image, label: occlusion_map(runner, image, label, patch)


def _record(
    artifact: Subject,
    predictions: Predictions,
    rows: Sequence[int],
    labels: Sequence[int],
    method: Method,
    reason: str,
    maps: Sequence[tuple[Array, Array]],
) -> ArtifactMaps:
    about = predictions.about
    flipped = predictions.of[about.models[0]].top1 != predictions.of[artifact.name].top1
    flat = 0.0 if method == "grad-cam" else LEAST_DROP
    return ArtifactMaps(
        name=artifact.name,
        method=method,
        reason=reason,
        changed=int(flipped.sum()),
        images=tuple(
            ImageMaps(
                image=about.names[row],
                label=about.class_names[label],
                flipped=bool(flipped[row]),
                correlation=correlation(*pair, flat),
                baseline=heat(pair[0]),
                artifact=heat(pair[1]),
            )
            for row, label, pair in zip(rows, labels, maps, strict=True)
        ),
    )
