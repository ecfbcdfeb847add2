"""Xception, and the variants that its paper compares it with.

F. Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", CVPR 2017, arXiv:1610.02357: 36
convolutional layers in 14 modules, all but the first and the last two with a residual connection around them. Layers
have the names, shapes and order that ``keras.applications.Xception`` gives them, so that its weights fit.

The hypothesis behind it is that correlations across channels and across space can be mapped apart. Between a regular
convolution and that lies a spectrum: a 1×1 convolution, then a spatial one over segments of its channels, each for
itself. With one segment all is regular, with three it is a simplified Inception module, and with as many segments as
channels it is the extreme one.
"""

from dataclasses import dataclass
from typing import Literal

from edgex.errors import UsageError
from edgex.graph.ir import Elu, Graph, Pair, Relu
from edgex.zoo.layers import Layers, repeated, scaled

STEM = (32, 64)
ENTRY = (128, 256, 728)
EXIT = (1024, 1536, 2048)
MIDDLE_BLOCKS = 8

Segments = int | Literal["all"]


@dataclass(frozen=True)
class Xception:
    """What to build.

    Attributes:
        width: multiplies all channels; see :func:`edgex.zoo.layers.scaled`.
        depth: multiplies the 8 blocks of the middle flow; at least one stays.
        residual: whether there are connections around the blocks. Without, the blocks' 1×1 shortcuts go, too.
        intermediate: an activation between the two halves of each separable convolution.
        order: of the two halves: "depthwise-first" is Xception's, "pointwise-first" that of Inception modules.
        segments: of the channels that the spatial half keeps apart. With a number, the 1×1 convolution always comes
            first, as in the paper's figures, and the spatial one is a grouped convolution. Where a width is no
            multiple of that number it is rounded up to the next one: with 3 segments, 728 channels become 729.
    """

    width: float = 1.0
    depth: float = 1.0
    residual: bool = True
    intermediate: Literal["none", "relu", "elu"] = "none"
    order: Literal["depthwise-first", "pointwise-first"] = "depthwise-first"
    segments: Segments = "all"

    def graph(self, size: Pair, classes: int) -> Graph:
        """Without weights. ValueError if nothing is left of an image of this size; UsageError for too many segments."""
        if self.segments != "all" and self.segments > scaled(ENTRY[0], self.width):
            raise UsageError(
                f"{scaled(ENTRY[0], self.width)} channels cannot be cut into {self.segments} segments.",
                fix="Take fewer, or all.",
            )
        layers = Layers(size)
        x = layers.image
        for part, (channels, strides) in enumerate(zip(STEM, (2, 1), strict=True), start=1):
            name = f"block1_conv{part}"
            x = layers.conv(name, x, scaled(channels, self.width), 3, strides=strides, padding="valid")
            x = layers.relu(f"{name}_act", layers.norm(f"{name}_bn", x))
        for block, channels in enumerate(ENTRY, start=2):
            # Block 1 ends in a ReLU already
            x = self._halving(layers, x, block, (channels, channels), activated=block == 2)
        middle = repeated(MIDDLE_BLOCKS, self.depth)
        for block in range(5, 5 + middle):
            start = x
            for part in (1, 2, 3):
                name = f"block{block}_sepconv{part}"
                x = self._separable(layers, name, layers.relu(f"{name}_act", x), ENTRY[-1])
            x = layers.sum(x, start) if self.residual else x
        x = self._halving(layers, x, 5 + middle, (ENTRY[-1], EXIT[0]))
        for part, channels in enumerate(EXIT[1:], start=1):
            name = f"block{6 + middle}_sepconv{part}"
            x = layers.relu(f"{name}_act", self._separable(layers, name, x, channels))
        return layers.graph("xception", layers.classifier(x, classes))

    def _halving(self, layers: Layers, x: str, block: int, widths: Pair, *, activated: bool = False) -> str:
        """Two separable convolutions and a max pool, with a strided 1×1 convolution around them."""
        start = x
        for part, channels in enumerate(widths, start=1):
            name = f"block{block}_sepconv{part}"
            if not (activated and part == 1):
                x = layers.relu(f"{name}_act", x)
            x = self._separable(layers, name, x, channels)
        if not self.residual:
            return layers.max_pool(f"block{block}_pool", x)
        # Keras orders layers by their distance to the output, and so do we
        shortcut = layers.conv(layers.automatic("conv2d"), start, layers.channels[x], 1, strides=2)
        x = layers.max_pool(f"block{block}_pool", x)
        shortcut = layers.norm(layers.automatic("batch_normalization"), shortcut)
        return layers.sum(x, shortcut)

    def _separable(self, layers: Layers, name: str, x: str, channels: int) -> str:
        """A separable convolution to a width as published, or the variant asked for, and batch norm."""
        channels = scaled(channels, self.width)
        if self.segments != "all":
            channels += -channels % self.segments
            x = self._activated(layers, layers.conv(f"{name}.pointwise", x, channels, 1))
            x = layers.conv(f"{name}.spatial", x, channels, 3, groups=self.segments)
        elif self.order == "pointwise-first":
            x = self._activated(layers, layers.conv(f"{name}.pointwise", x, channels, 1))
            x = layers.depthwise(f"{name}.depthwise", x)
        elif self.intermediate == "none":
            x = layers.separable(name, x, channels)
        else:
            x = self._activated(layers, layers.depthwise(f"{name}.depthwise", x))
            x = layers.conv(f"{name}.pointwise", x, channels, 1)
        return layers.norm(f"{name}_bn", x)

    def _activated(self, layers: Layers, x: str) -> str:
        """With the intermediate activation, named as one that is built into the layer."""
        if self.intermediate == "none":
            return x
        op = Relu() if self.intermediate == "relu" else Elu()
        return layers.add(f"{x}.{self.intermediate}", op, (x,), layers.channels[x])
