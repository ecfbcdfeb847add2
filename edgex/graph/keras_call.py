"""One call of a Keras layer, and its arguments as they are configured."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgex.errors import ModelError
from edgex.graph.ir import Array, ExplicitPadding, Padding, Pair
from edgex.graph.keras_config import Config, Layer
from edgex.graph.limits import EXTENT_LIMIT
from edgex.graph.shapes import Shape


@dataclass(frozen=True)
class Call:
    """One call of a layer: what its nodes are made of.

    Attributes:
        layer: the layer as configured.
        name: the tensor that the call makes.
        inputs: the tensors it reads.
        shapes: their shapes, without the batch axis.
        weights: the layer's, by the names that its :class:`~edgex.graph.keras_layers.LayerReader` gives them.
        keras_2: Keras 2 wrote the file.
    """

    layer: Layer
    name: str
    inputs: tuple[str, ...]
    shapes: tuple[Shape, ...]
    weights: Mapping[str, Array]
    keras_2: bool

    @property
    def config(self) -> Config:
        return self.layer.config

    @property
    def channels(self) -> int:
        return self.shapes[0][-1]

    def is_last_axis(self, axis: int) -> bool:
        return axis in (-1, len(self.shapes[0]))

    def refusal(self, what: str) -> ModelError:
        return ModelError(
            f"the layer {self.layer.name!r} ({self.layer.class_name}) has {what}, which edgex does not support",
            fix="Build the layer without it.",
        )

    # Arguments. ValueError if they cannot be, ModelError if they are not supported

    def count(self, key: str) -> int:
        """A positive number; 1 where the layer has no such argument."""
        value = int(self.config.get(key, 1))
        if value < 1:
            raise ValueError(f"{key} is {value}")
        return value

    def pair(self, key: str) -> Pair:
        """Along height and width."""
        value = self.config[key]
        first, second = (value, value) if isinstance(value, int) else value
        if not all(isinstance(extent, int) and 0 < extent <= EXTENT_LIMIT for extent in (first, second)):
            raise ValueError(f"{key} is {value}")
        return first, second

    def extent(self, key: str) -> int:
        """Pixels."""
        value = self.config[key]
        if not isinstance(value, int) or not 0 < value <= EXTENT_LIMIT:
            raise ValueError(f"{key} is {value}")
        return value

    def padding(self) -> Padding:
        match self.config["padding"]:
            case "same":
                return "same"
            case "valid":
                return "valid"
            case other:
                raise self.refusal(f"the padding {other!r}")

    def window(self) -> tuple[Pair, Pair, Padding]:
        """Size, strides and padding of a pool."""
        return self.pair("pool_size"), self.pair("strides"), self.padding()

    def borders(self, key: str) -> ExplicitPadding:
        """((top, bottom), (left, right)) in pixels."""
        (top, bottom), (left, right) = self.config[key]
        if not all(isinstance(border, int) and 0 <= border <= EXTENT_LIMIT for border in (top, bottom, left, right)):
            raise ValueError(f"{key} is {self.config[key]}")
        return (top, bottom), (left, right)
