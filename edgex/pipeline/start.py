"""Where training from labels starts: a network of the zoo or of a file, for the classes of the images at hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from edgex.dataset import Dataset
from edgex.errors import DataError, ModelError, UsageError
from edgex.graph.ir import Graph
from edgex.manifest import file_record
from edgex.networks import of_zoo
from edgex.pipeline.calibration import scales_itself
from edgex.pipeline.onnx_parity import read_compared
from edgex.pipeline.origin import Origin, origin_of
from edgex.pipeline.pruning import has_zeros
from edgex.prune.record import PruningRecord
from edgex.train.head import classes_of, head, pixels_of, reads_one_image, with_classes
from edgex.train.pretrained import imagenet_graph
from edgex.zoo import MODELS, Architecture, build, with_weights
from edgex.zoo.options import Options

IMAGENET = "imagenet"
"""In the place of a file to take weights from."""

LEAST_SIDE = 48
"""Pixels: what goes through the five halvings of an Xception leaves 2×2 positions."""

ROUNDED_TO = 16
"""Sides are multiples of it, in pixels, so that halvings come out even."""

LOOKED_AT = 64
"""Images whose sizes tell how large those of a dataset are."""

SHOWN = 5
"""Layers that a note names."""


@dataclass(frozen=True)
class Start:
    """A network before training.

    Attributes:
        graph: for the classes of the images; ends in a softmax, or at the logits.
        source: name of the network, and sha256 if it is a file.
        weights: the same of what weights were taken over from; empty for none.
        trained_before: whether its weights, but for the head, have been trained.
        images: content hashes of those that it was trained on.
        notes: sentences about what was chosen.
        origin: what the file that the weights are of says of how edgex made it.
    """

    graph: Graph
    source: Mapping[str, str]
    weights: Mapping[str, str]
    trained_before: bool
    images: frozenset[str]
    notes: tuple[str, ...]
    origin: Origin | None = None


def start_of(
    model: str | Path,
    dataset: Dataset,
    *,
    architecture: Mapping[str, Any],
    input_size: int | None,
    weights: str | Path | None,
    seed: int,
) -> Start:
    """Build or read the network.

    Args:
        model: a name of :data:`edgex.zoo.MODELS`, or a model file.
        dataset: with labels, or masks.
        architecture: options of a network of the zoo.
        input_size: height and width in pixels; None for the file's own, or what suits the images.
        weights: a model file to take weights from where names and shapes match, or :data:`IMAGENET`; None for none.
        seed: of fresh weights.

    Raises:
        UsageError: there is no such network, file or option; it classifies images and there are masks, or the other way
            round; no weight matches. Other EdgexErrors as of reading.
    """
    if of_zoo(Path(model)):
        start = _from_zoo(str(model), dataset, architecture, input_size, seed)
    else:
        start = _from_file(Path(model), dataset, architecture, input_size, seed)
    _refuse_other_task(start.graph, model, dataset)
    return start if weights is None else _with_weights(start, str(model), weights)


def _from_zoo(name: str, dataset: Dataset, options: Mapping[str, Any], input_size: int | None, seed: int) -> Start:
    architecture = MODELS[name]
    filled = Options(architecture.options).filled(name, options)  # one may have the name of an argument of build
    size, notes = (input_size, ()) if input_size is not None else _suiting_size(architecture, dataset)
    graph = build(name, classes=len(dataset.class_names), input_size=size, seed=seed, **filled)
    return Start(graph, {"name": name}, {}, False, frozenset(), notes)


def _suiting_size(architecture: Architecture, dataset: Dataset) -> tuple[int, tuple[str, ...]]:
    """The side of the images rounded up, from what leaves the network something to see to what it was made for."""
    sides = []
    for item in dataset.sample(LOOKED_AT).items:
        try:
            sides.append(max(dataset.source.shape(item.name)))
        except DataError:  # training will say so, or put up with it
            continue
    if not sides:
        return architecture.native_size, ()
    side = round(median(sides))
    rounded = -(-side // ROUNDED_TO) * ROUNDED_TO
    size = min(architecture.native_size, max(rounded, LEAST_SIDE, architecture.least_size))
    note = f"The images have about {side} pixels a side, and are read at {size}×{size}; --input-size chooses another."
    return size, (note,)


def _from_file(path: Path, dataset: Dataset, options: Mapping[str, Any], input_size: int | None, seed: int) -> Start:
    if not path.exists() and not path.suffix:
        raise UsageError(
            f"{path} is no network of the zoo, and no file.",
            fix=f"Choose one of {', '.join(MODELS)}, or give a model file.",
        )
    if options:
        raise UsageError(
            f"{path} is built already; {', '.join(options)} would have to build it anew.",
            fix="Give such options with a network of the zoo only.",
        )
    graph = read_compared(path, input_size=input_size)
    if not reads_one_image(graph):
        raise ModelError(f"{path} does not go from one image to one answer.", fix="Give a classifier.")
    old, new = classes_of(graph), len(dataset.class_names)
    notes = list(graph.notes)
    head(graph)  # whatever it ends in must be what labels can train
    if old != new and not (dataset.counted and new < old):
        graph = with_classes(graph, new, seed)
        notes.append(f"{path} tells {old} classes apart and the images show {new}, so {head(graph).name} begins anew.")
    origin = origin_of(path)
    if isinstance(origin, PruningRecord) and has_zeros(origin):
        raise UsageError(
            f"{path} was pruned by {origin.method}, and training would fill its zeros.",
            fix="Train before pruning; prune fine-tunes by itself.",
        )
    record = file_record(path)
    source = {"name": record.name, "sha256": record.sha256}
    return Start(graph, source, {}, True, frozenset(origin.images if origin else ()), tuple(notes), origin)


def _refuse_other_task(graph: Graph, model: str | Path, dataset: Dataset) -> None:
    """UsageError if a network classifies pixels and the labels are of images, or the other way round."""
    path = dataset.source.path
    if pixels_of(graph) is not None and not dataset.segmented:
        raise UsageError(
            f"{model} classifies pixels, and {path} has no masks.",
            fix="Put a mask into masks/ for each image in images/, or choose a classifier of images.",
        )
    if pixels_of(graph) is None and dataset.segmented:
        segmenters = [name for name, each in MODELS.items() if each.task == "segment"]
        raise UsageError(
            f"{model} classifies whole images, and {path} has masks.", fix=f"Choose {' or '.join(segmenters)}."
        )


def _with_weights(start: Start, model: str, weights: str | Path) -> Start:
    """The start with weights taken over, and with the images that those were trained on."""
    if str(weights) == IMAGENET:
        source, origin, record = imagenet_graph(model), None, {"name": IMAGENET}
    else:
        path = Path(weights)
        source, origin, file = read_compared(path), origin_of(path), file_record(path)
        record = {"name": file.name, "sha256": file.sha256}
    transfer = with_weights(start.graph, source)
    if not transfer.taken:
        raise UsageError(
            f"No layer of {model} has the name and the shapes of one in {weights}.",
            fix="Give weights of the same architecture, with the same --width.",
        )
    whole = len(transfer.taken) + len(transfer.fresh)
    note = f"{len(transfer.taken)} of {whole} layers have the weights of {weights} now; {_named(transfer.fresh)}."
    return replace(
        start,
        graph=transfer.graph,
        weights=record,
        trained_before=True,
        images=start.images | frozenset(origin.images if origin else ()),
        notes=(*start.notes, *source.notes, note),
        origin=origin if origin and scales_itself(source) == scales_itself(start.graph) else start.origin,
    )


def _named(fresh: Sequence[str]) -> str:
    if not fresh:
        return "none begins anew"
    more = f" and {len(fresh) - SHOWN} more" if len(fresh) > SHOWN else ""
    return f"anew begin {', '.join(fresh[:SHOWN])}{more}"
