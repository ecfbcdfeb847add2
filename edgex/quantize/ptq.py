"""Post-training quantization: run the float graph on calibration images, and make a plan of what is seen."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from itertools import chain, islice
from typing import Any, Literal, TypeVar

import numpy as np

from edgex.errors import ModelError
from edgex.execute import Extremes, channel_extremes, tensor_values
from edgex.graph.ir import Array, Graph
from edgex.graph.passes.cross_layer import equalize_across_relu, factors_across_relu, neighbours_across_relu
from edgex.graph.passes.equalize import channel_factors, equalizable, equalize_depthwise
from edgex.graph.passes.result import PassResult
from edgex.parallel import ahead
from edgex.plan import QuantizationPlan, Range, Scheme, WeightBits
from edgex.quantize.correction import correct_biases
from edgex.quantize.histogram import BINS, Histogram, best_range
from edgex.quantize.layout import QuantizationLayout, quantization_layout
from edgex.quantize.observers import ODD_FACTOR, ImageExtremes, Method, OddImage
from edgex.quantize.rounding import learn_rounding
from edgex.quantize.statistics import NamedImages, Progress, layer_statistics

Result = TypeVar("Result")

EQUALIZATION_IMAGES = 16
"""Images that tell how far each channel reaches; more change nothing that matters."""

NAMED_ODD_IMAGES = 20
"""Odd images that the plan lists; it counts all."""

ODD_IMAGES_WERE: Mapping[Method, str] = {
    "average": "left out of the averages of the tensors they drive",
    "minmax": "used",
    **dict.fromkeys(("percentile", "mse", "entropy"), "left out of the histograms of the tensors they drive"),
}


@dataclass(frozen=True)
class PtqOptions:
    """How to calibrate.

    Attributes:
        scheme: of the activations; the target's.
        method: how images become ranges, see :mod:`edgex.quantize.observers`.
        percentile: of a tensor's values that must fit, for the method of that name.
        equalize: whether to even out depthwise channels first.
        cross_layer: whether to even out the channels behind ReLUs, too.
        weight_bits: of the weights.
        rounding: of weights to the ``nearest``, or whichever way keeps a layer's output, see
            :mod:`edgex.quantize.rounding`.
        correct_bias: whether to take the mean error of each layer back, see :mod:`edgex.quantize.correction`.
        keep_float: layers to leave in float.
        integer_io: the model's ends are integers.
        workers: images at a time.
    """

    scheme: Scheme
    method: Method = "average"
    percentile: float = 99.99
    equalize: bool = True
    cross_layer: bool = False
    weight_bits: WeightBits = 8
    rounding: Literal["nearest", "learned"] = "nearest"
    correct_bias: bool = False
    keep_float: re.Pattern[str] | None = None
    integer_io: bool = False
    workers: int = 1


@dataclass(frozen=True)
class PtqResult:
    """A float graph, equalized and its weights adapted if that was asked for, and the plan for it."""

    graph: Graph
    plan: QuantizationPlan
    odd_images: tuple[OddImage, ...]


def quantize_ptq(
    graph: Graph, images: NamedImages, options: PtqOptions, progress: Progress = lambda *_: None
) -> PtqResult:
    """Make a plan for a prepared graph from calibration images.

    Memory does not grow with the images, but for 8 bytes a tensor and image.

    Args:
        graph: see :func:`edgex.graph.passes.prepare`; one input.
        images: in an order of which the first few are typical, and the same each time: some methods go through them
            twice, and what adapts weights once more.
        options: see there.
        progress: called with what is being done, how much of it is done, and how much there is.

    Raises:
        ModelError: a tensor is not finite; names it and the image.
        ValueError: there are no images.
    """
    layout = quantization_layout(graph, options.keep_float, integer_io=options.integer_io)
    seen = _observe_extremes(graph, layout, images, options, progress)
    if options.method == "average" or options.method == "minmax":
        ranges = seen.extremes.ranges(options.method)
    else:
        histograms = _observe_histograms(seen, images, options.workers, progress)
        ranges = {
            name: best_range(histogram, options.method, options.scheme, options.percentile)
            for name, histogram in histograms.items()
        }
    ranges = _tie(ranges, layout.ties)
    plan = QuantizationPlan(options.scheme, ranges, layout.precisions, layout.ties, weight_bits=options.weight_bits)
    adapted, changes = _adapt_weights(seen.equalized.graph, plan, images, options, progress)
    odd_images = seen.extremes.odd_images(seen.names)
    record = {
        "method": options.method,
        **({"percentile": options.percentile} if options.method == "percentile" else {}),
        "images": len(seen.names),
        "equalized": list(seen.equalized.depthwise),
        "equalized_across_relu": list(seen.equalized.across_relu),
        **changes,
        "odd_factor": ODD_FACTOR,
        "odd_image_count": len(odd_images),
        "odd_images": [asdict(image) for image in odd_images[:NAMED_ODD_IMAGES]],
        "odd_images_were": ODD_IMAGES_WERE[options.method],
    }
    return PtqResult(adapted, replace(plan, calibration=record), tuple(odd_images))


@dataclass(frozen=True)
class _Equalized:
    """A graph that computes the same, with channels evened out.

    Attributes:
        depthwise: names of the depthwise layers whose outputs were.
        across_relu: names of the ReLUs whose outputs were.
        divisors: tensor name → what its channels are divided by, (channels,).
    """

    graph: Graph
    depthwise: tuple[str, ...]
    across_relu: tuple[str, ...]
    divisors: Mapping[str, Array]


@dataclass(frozen=True)
class _Seen:
    """What the images showed: extremes of the tensors of the equalized graph, and the names of the images."""

    equalized: _Equalized
    extremes: ImageExtremes
    names: Sequence[str]


def _observe_extremes(
    graph: Graph, layout: QuantizationLayout, images: NamedImages, options: PtqOptions, progress: Progress
) -> _Seen:
    """Run each image once, through the graph as it is: dividing what is seen is the same as equalizing first."""
    tensors = layout.tensors
    run = channel_extremes(graph, tensors)
    measured = _finite(tensors, ahead(lambda image: (image[0], run(image[1])), images, options.workers))
    counted = _counted(measured, lambda done: progress("calibrate", done, len(images)))
    head = list(islice(counted, EQUALIZATION_IMAGES))
    if not head:
        raise ValueError("no calibration images")
    equalized = _equalize(graph, layout, options, [of_tensors for _, of_tensors in head])
    divisors = [equalized.divisors.get(name, np.float32(1)) for name in tensors]
    extremes = ImageExtremes(tensors)
    names = []
    for name, of_tensors in chain(head, counted):
        names.append(name)
        extremes.add(*_outermost(of_tensors, divisors))
    return _Seen(equalized, extremes, names)


def _equalize(
    graph: Graph, layout: QuantizationLayout, options: PtqOptions, measured: Sequence[Sequence[Extremes]]
) -> _Equalized:
    """Even out what is asked for and runs in INT8, by how far channels reach in an image on average.

    Images that are odd for a tensor do not count. A median would go further, and take channels that fire in few images
    for dead, and blow them up until those images are odd.
    """
    tensors = layout.tensors
    extremes = ImageExtremes(tensors)
    for of_tensors in measured:
        extremes.add(*_outermost(of_tensors, [np.float32(1)] * len(tensors)))
    usual = dict(zip(tensors, ~extremes.odd().T, strict=True))

    def reach(names: Iterable[str]) -> dict[str, Array]:
        places = {name: tensors.index(name) for name in names if layout.precisions[name] == "int8"}
        reached = {
            name: np.stack([np.maximum(-of_image[at].low, of_image[at].high) for of_image in measured])
            for name, at in places.items()
        }
        return {name: of_images[usual[name]].mean(axis=0) for name, of_images in reached.items()}

    depthwise = reach(equalizable(graph) if options.equalize else ())
    across_relu = reach(neighbours_across_relu(graph) if options.cross_layer else ())
    evened = equalize_depthwise(graph, depthwise)
    both = equalize_across_relu(evened.graph, across_relu)
    divisors = {name: channel_factors(depthwise[name]) for name in evened.changed}
    divisors |= factors_across_relu(graph, across_relu)
    return _Equalized(both.graph, evened.changed, both.changed, divisors)


def _outermost(of_tensors: Sequence[Extremes], divisors: Sequence[Array | np.float32]) -> tuple[Array, Array]:
    """Smallest and largest values of tensors, (tensors,) each, whose channels are divided."""
    pairs = list(zip(of_tensors, divisors, strict=True))
    lows = np.array([(channels.low / divisor).min() for channels, divisor in pairs])
    highs = np.array([(channels.high / divisor).max() for channels, divisor in pairs])
    return lows, highs


def _observe_histograms(seen: _Seen, images: NamedImages, workers: int, progress: Progress) -> dict[str, Histogram]:
    """Run each image through the equalized graph, and count the values of tensors for which it is not odd."""
    tensors = seen.extremes.tensors
    run = tensor_values(seen.equalized.graph, tensors)
    spans = seen.extremes.usual_ranges()

    def count(image: tuple[str, Array]) -> list[Histogram]:
        return [Histogram.of(values, spans[name]) for name, values in zip(tensors, run(image[1]), strict=True)]

    totals = {name: Histogram(span, np.zeros(BINS, np.int64), 0) for name, span in spans.items()}
    counted = _counted(ahead(count, images, workers), lambda done: progress("histograms", done, len(images)))
    for odd, of_image in zip(seen.extremes.odd(), counted, strict=True):
        for name, is_odd, histogram in zip(tensors, odd, of_image, strict=True):
            if not is_odd:
                totals[name] += histogram
    return totals


def _adapt_weights(
    graph: Graph, plan: QuantizationPlan, images: NamedImages, options: PtqOptions, progress: Progress
) -> tuple[Graph, dict[str, Any]]:
    """Round kernels and correct biases as asked for; the graph, and what the plan says of it."""
    rounded = corrected = PassResult(graph)
    if options.rounding == "learned" or options.correct_bias:
        statistics = layer_statistics(graph, plan, images, options.workers, progress)
        if options.rounding == "learned":
            rounded = learn_rounding(graph, plan, statistics, progress)
        corrected = PassResult(rounded.graph)
        if options.correct_bias:
            corrected = correct_biases(rounded.graph, plan, statistics, graph)
    return corrected.graph, {
        "rounding": options.rounding,
        "rounded": list(rounded.changed),
        "biases_corrected": list(corrected.changed),
    }


def _counted(items: Iterable[Result], progress: Callable[[int], None]) -> Iterator[Result]:
    for count, item in enumerate(items, start=1):
        yield item
        progress(count)


def _finite(
    tensors: Sequence[str], measured: Iterable[tuple[str, list[Extremes]]]
) -> Iterator[tuple[str, list[Extremes]]]:
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
