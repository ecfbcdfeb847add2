"""Post-training quantization: run the float graph on calibration images, and make a plan of what is seen."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from itertools import chain, islice
from typing import TypeVar

import numpy as np

from edgex.errors import ModelError
from edgex.execute import channel_extremes, tensor_values
from edgex.graph.ir import Array, Graph
from edgex.graph.passes.equalize import equalizable, equalize_depthwise
from edgex.parallel import ahead
from edgex.plan import QuantizationPlan, Range, Scheme
from edgex.quantize.layout import QuantizationLayout, quantization_layout
from edgex.quantize.observers import ODD_FACTOR, Histogram, ImageExtremes, Method, OddImage

NamedImage = tuple[str, Array]
"""Name and preprocessed pixels (1, height, width, channels)."""
Observed = tuple[dict[str, Range], int, list[OddImage]]
"""Ranges, number of images, odd images."""
Result = TypeVar("Result")

EQUALIZATION_IMAGES = 16
"""Images that tell how far each depthwise channel reaches; more change nothing that matters."""

NAMED_ODD_IMAGES = 20
"""Odd images that the plan lists; it counts all."""


@dataclass(frozen=True)
class PtqOptions:
    """How to calibrate.

    Attributes:
        scheme: of the activations; the target's.
        method: how images become ranges, see :mod:`edgex.quantize.observers`.
        percentile: of a tensor's values that must fit, for the method of that name.
        equalize: whether to even out depthwise channels first.
        keep_float: layers to leave in float.
        integer_io: the model's ends are integers.
        workers: images at a time.
    """

    scheme: Scheme
    method: Method = "average"
    percentile: float = 99.99
    equalize: bool = True
    keep_float: re.Pattern[str] | None = None
    integer_io: bool = False
    workers: int = 1


@dataclass(frozen=True)
class PtqResult:
    """A float graph, equalized if that was asked for, and the plan for it."""

    graph: Graph
    plan: QuantizationPlan
    odd_images: tuple[OddImage, ...]


def quantize_ptq(
    graph: Graph,
    images: Iterable[NamedImage],
    options: PtqOptions,
    progress: Callable[[int], None] = lambda _: None,
) -> PtqResult:
    """Make a plan for a prepared graph from calibration images.

    Memory does not grow with the images, but for 8 bytes a tensor and image.

    Args:
        graph: see :func:`edgex.graph.passes.prepare`; one input.
        images: in an order of which the first few are typical.
        options: see there.
        progress: called with the number of images done.

    Raises:
        ModelError: a tensor is not finite; names it and the image.
        ValueError: there are no images.
    """
    images = iter(images)
    head = list(islice(images, EQUALIZATION_IMAGES))
    if not head:
        raise ValueError("no calibration images")
    layout = quantization_layout(graph, options.keep_float, integer_io=options.integer_io)
    equalized: tuple[str, ...] = ()
    if options.equalize:
        result = equalize_depthwise(graph, _channel_magnitudes(graph, layout, head, options.workers))
        graph, equalized = result.graph, result.changed
    observe = _observe_percentile if options.method == "percentile" else _observe_extremes
    ranges, count, odd = observe(graph, layout.tensors, chain(head, images), options, progress)
    record = {
        "method": options.method,
        **({"percentile": options.percentile} if options.method == "percentile" else {}),
        "images": count,
        "equalized": list(equalized),
        "odd_factor": ODD_FACTOR,
        "odd_image_count": len(odd),
        "odd_images": [asdict(image) for image in odd[:NAMED_ODD_IMAGES]],
        "odd_images_were": "left out of the averages of the tensors they drive"
        if options.method == "average"
        else "used",
    }
    plan = QuantizationPlan(options.scheme, _tie(ranges, layout.ties), layout.precisions, layout.ties, record)
    return PtqResult(graph, plan, tuple(odd))


def _channel_magnitudes(
    graph: Graph, layout: QuantizationLayout, images: Sequence[NamedImage], workers: int
) -> dict[str, Array]:
    """How far each channel of the depthwise outputs reaches in the median image, (channels,) by node name."""
    names = [name for name in equalizable(graph) if layout.precisions[name] == "int8"]
    if not names:
        return {}
    measured = [extremes for _, extremes in ahead(_on_image(channel_extremes(graph, names)), images, workers)]
    return {
        name: np.median([np.maximum(np.abs(low), np.abs(high)) for low, high in of_images], axis=0)
        for name, of_images in zip(names, zip(*measured, strict=True), strict=True)
    }


def _observe_extremes(
    graph: Graph,
    tensors: Sequence[str],
    images: Iterable[NamedImage],
    options: PtqOptions,
    progress: Callable[[int], None],
) -> Observed:
    assert options.method != "percentile"
    seen = ImageExtremes(tensors)
    names = []
    for name, extremes in ahead(_on_image(channel_extremes(graph, tensors)), images, options.workers):
        names.append(name)
        lows = np.array([channels.low.min() for channels in extremes])
        highs = np.array([channels.high.max() for channels in extremes])
        _check_finite(tensors, lows + highs, name)
        seen.add(lows, highs)
        progress(len(names))
    return seen.ranges(options.method), len(names), seen.odd_images(names)


def _observe_percentile(
    graph: Graph,
    tensors: Sequence[str],
    images: Iterable[NamedImage],
    options: PtqOptions,
    progress: Callable[[int], None],
) -> Observed:
    seen = ImageExtremes(tensors)
    histograms = [Histogram() for _ in tensors]
    names = []
    for name, values in ahead(_on_image(tensor_values(graph, tensors)), images, options.workers):
        names.append(name)
        lows, highs = np.array([value.min() for value in values]), np.array([value.max() for value in values])
        _check_finite(tensors, lows + highs, name)
        seen.add(lows, highs)
        for histogram, value in zip(histograms, values, strict=True):
            histogram.add(value)
        progress(len(names))
    ranges = {name: histogram.range(options.percentile) for name, histogram in zip(tensors, histograms, strict=True)}
    return ranges, len(names), seen.odd_images(names)


def _on_image(run: Callable[[Array], Result]) -> Callable[[NamedImage], tuple[str, Result]]:
    return lambda image: (image[0], run(image[1]))


def _check_finite(tensors: Sequence[str], sums: Array, image: str) -> None:
    bad = [name for name, value in zip(tensors, sums, strict=True) if not np.isfinite(value)]
    if bad:
        raise ModelError(
            f"{len(bad)} tensors of the model are not finite on the image {image}, first {bad[0]}.",
            fix="Check the model's weights and that --preprocess is what it was trained with.",
        )


def _tie(ranges: Mapping[str, Range], ties: Iterable[Sequence[str]]) -> dict[str, Range]:
    """Give tied tensors the range that holds all of theirs."""
    tied = dict(ranges)
    for group in ties:
        joined = reduce(Range.union, (ranges[name] for name in group))
        tied.update(dict.fromkeys(group, joined))
    return tied
