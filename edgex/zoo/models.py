"""The architectures by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from edgex.errors import UsageError
from edgex.graph.ir import Graph, Pair
from edgex.zoo.aligned_xception import AlignedXception
from edgex.zoo.deeplab import DeepLabV3Plus
from edgex.zoo.inception import inception_v3
from edgex.zoo.options import Option, Options, Value
from edgex.zoo.weights import initialized
from edgex.zoo.xception import Xception

Builder = Callable[[Pair, int, Mapping[str, Value]], Graph]
"""From height and width, the number of classes and all options to a graph whose weights are yet to be drawn."""


@dataclass(frozen=True)
class Architecture:
    """A network that can be built.

    Attributes:
        task: ``classify`` ends in the probabilities of classes, ``segment`` in those of every pixel.
        native_size: height and width of the images that it was published for.
        least_size: the smallest image, high or wide, of which something is left.
        classes: how many it tells apart untold.
        builder: makes the graph.
        options: by name.
    """

    task: Literal["classify", "segment"]
    native_size: int
    least_size: int
    classes: int
    builder: Builder
    options: Mapping[str, Option] = field(default_factory=dict)


def _xception(size: Pair, classes: int, options: Mapping[str, Any]) -> Graph:
    return Xception(**options).graph(size, classes)


def _aligned_xception(size: Pair, classes: int, options: Mapping[str, Any]) -> Graph:
    return AlignedXception(**options).graph(size, classes)


def _inception_v3(size: Pair, classes: int, _options: Mapping[str, Any]) -> Graph:
    return inception_v3(size, classes)


def _deeplab_v3plus(size: Pair, classes: int, options: Mapping[str, Any]) -> Graph:
    return DeepLabV3Plus(**options).graph(size, classes)


def _output_stride(default: int) -> Option:
    return Option(default, "of the last features; atrous convolutions keep it", int, choices=(32, 16, 8))


WIDTH = Option(1.0, "multiplies all channels", float)
DEPTH = Option(1.0, "multiplies the blocks of the middle flow", float)

MODELS: Mapping[str, Architecture] = MappingProxyType(
    {
        "xception": Architecture(
            task="classify",
            native_size=299,
            least_size=7,
            classes=1000,
            builder=_xception,
            options={
                "width": WIDTH,
                "depth": DEPTH,
                "residual": Option(True, "connections around the blocks", bool),
                "intermediate": Option(
                    "none", "activation between depthwise and pointwise", choices=("none", "relu", "elu")
                ),
                "order": Option(
                    "depthwise-first",
                    "of the halves of a separable convolution",
                    choices=("depthwise-first", "pointwise-first"),
                ),
                "segments": Option(
                    "all", "of channels that the spatial convolutions keep apart", int, choices=("all",), others=True
                ),
            },
        ),
        "inception_v3": Architecture(
            task="classify",
            native_size=299,
            least_size=75,
            classes=1000,
            builder=_inception_v3,
        ),
        "aligned_xception": Architecture(
            task="classify",
            native_size=299,
            least_size=1,
            classes=1000,
            builder=_aligned_xception,
            options={"width": WIDTH, "depth": DEPTH, "output_stride": _output_stride(32)},
        ),
        "deeplab_v3plus": Architecture(
            task="segment",
            native_size=513,
            least_size=1,
            classes=21,
            builder=_deeplab_v3plus,
            options={"width": WIDTH, "depth": DEPTH, "output_stride": _output_stride(16)},
        ),
    }
)


def build(
    name: str, *, classes: int | None = None, input_size: int | Pair | None = None, seed: int = 0, **options: Any
) -> Graph:
    """A network of the zoo with fresh weights, which ends in a softmax over the last axis.

    Args:
        name: one of :data:`MODELS`.
        classes: to tell apart; None for the architecture's own number.
        input_size: height and width of the images in pixels, one number for both; None for the native size.
        seed: of the weights.
        options: of the architecture; see :attr:`Architecture.options`.

    Raises:
        UsageError: there is no such network or option, or a value that cannot be.
        RuntimeMissingError: ``inception_v3`` needs the train extra, which is not installed.
    """
    if name not in MODELS:
        raise UsageError(f"There is no network {name!r} in the zoo.", fix=f"Choose from: {', '.join(MODELS)}.")
    architecture = MODELS[name]
    classes = architecture.classes if classes is None else classes
    if classes < 2:
        raise UsageError(f"A network for {classes} classes tells nothing apart.", fix="Give at least 2.")
    filled = Options(architecture.options).filled(name, options)
    size = _size(name, architecture, input_size)
    return initialized(architecture.builder(size, classes, filled), seed)


def _size(name: str, architecture: Architecture, given: int | Pair | None) -> Pair:
    size = architecture.native_size if given is None else given
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < architecture.least_size:
        raise UsageError(
            f"Of images of {height}×{width} nothing is left inside {name}.",
            fix=f"Give it images of at least {architecture.least_size}×{architecture.least_size}.",
        )
    return height, width
