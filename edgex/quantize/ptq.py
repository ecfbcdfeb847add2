"""Post-training quantization: run the float graph on calibration images, and make a plan of what is seen."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from itertools import chain, islice
from typing import TypeVar

import numpy as np

from edgex.errors import ModelError
from edgex.execute import Extremes, channel_extremes, tensor_values
from edgex.graph.ir import Array, Graph
from edgex.graph.passes.equalize import channel_factors, equalizable, equalize_depthwise
from edgex.graph.passes.result import PassResult
from edgex.parallel import ahead
from edgex.plan import QuantizationPlan, Range, Scheme
from edgex.quantize.layout import QuantizationLayout, quantization_layout
from edgex.quantize.observers import ODD_FACTOR, Histogram, ImageExtremes, Method, OddImage

NamedImage = tuple[str, Array]
"""Name and preprocessed pixels (1, height, width, channels)."""
Result = TypeVar("Result")
Measured = TypeVar("Measured", Array, Extremes)

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
    layout = quantization_layout(graph, options.keep_float, integer_io=options.integer_io)
    observe = _observe_percentile if options.method == "percentile" else _observe_extremes
    seen = observe(graph, layout, images, options, progress)
    record = {
        "method": options.method,
        **({"percentile": options.percentile} if options.method == "percentile" else {}),
        "images": seen.images,
        "equalized": list(seen.equalized.changed),
        "odd_factor": ODD_FACTOR,
        "odd_image_count": len(seen.odd_images),
        "odd_images": [asdict(image) for image in seen.odd_images[:NAMED_ODD_IMAGES]],
        "odd_images_were": "left out of the averages of the tensors they drive"
        if options.method == "average"
        else "used",
    }
    plan = QuantizationPlan(options.scheme, _tie(seen.ranges, layout.ties), layout.precisions, layout.ties, record)
    return PtqResult(seen.equalized.graph, plan, tuple(seen.odd_images))


@dataclass(frozen=True)
class _Seen:
    """What the images showed: ranges of the tensors of the equalized graph."""

    equalized: PassResult
    ranges: Mapping[str, Range]
    images: int
    odd_images: Sequence[OddImage]


def _observe_extremes(
    graph: Graph,
    layout: QuantizationLayout,
    images: Iterable[NamedImage],
    options: PtqOptions,
    progress: Callable[[int], None],
) -> _Seen:
    """Run each image once, through the graph as it is: dividing what is seen is the same as equalizing first."""
    assert options.method != "percentile"
    tensors = layout.tensors
    run = _on_image(channel_extremes(graph, tensors))
    measured = _counted(_finite(tensors, ahead(run, images, options.workers)), progress)
    head = _head(measured)
    reach = _channel_reach(graph, layout, tensors, head) if options.equalize else {}
    equalized = equalize_depthwise(graph, reach)
    factors = {name: channel_factors(reach[name]) for name in equalized.changed}
    divisors = [factors.get(name, np.float32(1)) for name in tensors]
    extremes = ImageExtremes(tensors)
    names = []
    for name, of_tensors in chain(head, measured):
        names.append(name)
        pairs = list(zip(of_tensors, divisors, strict=True))
        lows = np.array([(channels.low / divisor).min() for channels, divisor in pairs])
        highs = np.array([(channels.high / divisor).max() for channels, divisor in pairs])
        extremes.add(lows, highs)
    return _Seen(equalized, extremes.ranges(options.method), len(names), extremes.odd_images(names))


def _observe_percentile(
    graph: Graph,
    layout: QuantizationLayout,
    images: Iterable[NamedImage],
    options: PtqOptions,
    progress: Callable[[int], None],
) -> _Seen:
    """Run each image through the equalized graph, and the first few before that to equalize it."""
    tensors = layout.tensors
    images = iter(images)
    head = _head(images)
    reach = {}
    if options.equalize:
        measured = ahead(_on_image(channel_extremes(graph, tensors)), head, options.workers)
        reach = _channel_reach(graph, layout, tensors, list(_finite(tensors, measured)))
    equalized = equalize_depthwise(graph, reach)
    extremes = ImageExtremes(tensors)
    histograms = [Histogram() for _ in tensors]
    names = []
    run = _on_image(tensor_values(equalized.graph, tensors))
    for name, values in _counted(_finite(tensors, ahead(run, chain(head, images), options.workers)), progress):
        names.append(name)
        extremes.add(np.array([value.min() for value in values]), np.array([value.max() for value in values]))
        for histogram, value in zip(histograms, values, strict=True):
            histogram.add(value)
    ranges = {name: histogram.range(options.percentile) for name, histogram in zip(tensors, histograms, strict=True)}
    return _Seen(equalized, ranges, len(names), extremes.odd_images(names))


def _channel_reach(
    graph: Graph, layout: QuantizationLayout, tensors: Sequence[str], measured: Sequence[tuple[str, list[Extremes]]]
) -> dict[str, Array]:
    """How far each channel of the depthwise outputs reaches in an image on average, (channels,) by node name.

    A median would take channels that fire in few images for dead, and blow them up until those images are odd.
    """
    pairs = equalizable(graph)
    return {
        name: np.mean([np.maximum(np.abs(low), np.abs(high)) for low, high in of_images], axis=0)
        for name, of_images in zip(tensors, zip(*(of_image for _, of_image in measured), strict=True), strict=True)
        if name in pairs and layout.precisions[name] == "int8"
    }


def _head(items: Iterator[Result]) -> list[Result]:
    """The first images, or what was measured of them, for equalization. ValueError if there are none."""
    head = list(islice(items, EQUALIZATION_IMAGES))
    if not head:
        raise ValueError("no calibration images")
    return head


def _on_image(run: Callable[[Array], Result]) -> Callable[[NamedImage], tuple[str, Result]]:
    return lambda image: (image[0], run(image[1]))


def _counted(items: Iterable[Result], progress: Callable[[int], None]) -> Iterator[Result]:
    for count, item in enumerate(items, start=1):
        yield item
        progress(count)


def _finite(
    tensors: Sequence[str], measured: Iterable[tuple[str, list[Measured]]]
) -> Iterator[tuple[str, list[Measured]]]:
    """What was measured of each image, as it comes. ModelError if a value is not finite."""
    for image, of_tensors in measured:
        bad = [name for name, values in zip(tensors, of_tensors, strict=True) if not np.isfinite(values).all()]
        if bad:
            raise ModelError(
                f"{len(bad)} tensors of the model are not finite on the image {image}, first {bad[0]}.",
                fix="Check the model's weights and that --preprocess is what it was trained with.",
            )
        yield image, of_tensors


def _tie(ranges: Mapping[str, Range], ties: Iterable[Sequence[str]]) -> dict[str, Range]:
    """Give tied tensors the range that holds all of theirs."""
    tied = dict(ranges)
    for group in ties:
        joined = reduce(Range.union, (ranges[name] for name in group))
        tied.update(dict.fromkeys(group, joined))
    return tied
