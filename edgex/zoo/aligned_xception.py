"""The Modified Aligned Xception, backbone of DeepLab V3+, here as a classifier too.

L.-C. Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation", ECCV 2018,
arXiv:1802.02611, figure 4: against Xception the middle flow has twice the blocks, separable convolutions with a stride
stand where max pools were, so that atrous convolution can keep the resolution, and batch norm and a ReLU follow each
depthwise convolution. There are 65 convolutional layers.

As in Xception, a ReLU stands before each separable convolution, and what goes around a block is not activated. The
last block has none around it, and a ReLU behind each half.
"""

from dataclasses import dataclass
from typing import Literal

from edgex.graph.ir import Graph, Pair
from edgex.zoo.layers import Layers, repeated, scaled

STEM = (32, 64)
ENTRY = (128, 256, 728)
EXIT = (728, 1024, 1024)
LAST = (1536, 1536, 2048)
MIDDLE_BLOCKS = 16


@dataclass(frozen=True)
class Features:
    """Tensors that a network on this backbone reads.

    Attributes:
        low_level: a quarter of the image's size, 256 channels wide: what the last separable convolution of block 3
            reads, the one that halves.
        last: the backbone's output, ``output_stride`` times smaller than the image.
    """

    low_level: str
    last: str


@dataclass(frozen=True)
class AlignedXception:
    """What to build.

    Attributes:
        width: multiplies all channels; see :func:`edgex.zoo.layers.scaled`.
        depth: multiplies the 16 blocks of the middle flow; at least one stays.
        output_stride: of the last features. Blocks that would go beyond do not halve, and convolutions after them are
            atrous by as much.
    """

    width: float = 1.0
    depth: float = 1.0
    output_stride: Literal[8, 16, 32] = 32

    def graph(self, size: Pair, classes: int) -> Graph:
        """The classifier, without weights."""
        layers = Layers(size)
        features = self.features(layers)
        return layers.graph("aligned_xception", layers.classifier(features.last, classes))

    def features(self, layers: Layers) -> Features:
        """The backbone put on a graph's image."""
        x = layers.image
        for part, (channels, strides) in enumerate(zip(STEM, (2, 1), strict=True), start=1):
            name = f"block1_conv{part}"
            x = layers.conv(name, x, scaled(channels, self.width), 3, strides=strides)
            x = layers.relu(f"{name}_act", layers.norm(f"{name}_bn", x))
        middle = repeated(MIDDLE_BLOCKS, self.depth)
        stride, rate = 2, 1
        blocks = [
            *(((channels,) * 3, 2) for channels in ENTRY),
            *((ENTRY[-1:] * 3, 1) for _ in range(middle)),
            (EXIT, 2),
        ]
        for block, (widths, halving) in enumerate(blocks, start=2):
            strides = halving if stride * halving <= self.output_stride else 1
            x = self._block(layers, x, block, widths, strides, rate, projected=halving > 1)
            stride, rate = stride * strides, rate * halving // strides
        for part, channels in enumerate(LAST, start=1):
            name = f"block{len(blocks) + 2}_sepconv{part}"
            x = layers.relu(f"{name}_act", separable(layers, name, x, scaled(channels, self.width), rate=rate))
        return Features("block3_sepconv3_act", x)

    def _block(
        self,
        layers: Layers,
        x: str,
        block: int,
        widths: tuple[int, ...],
        strides: int,
        rate: int,
        *,
        projected: bool,
    ) -> str:
        """Three separable convolutions, the last with the stride, and a connection around them."""
        start = x
        for part, channels in enumerate(widths, start=1):
            name = f"block{block}_sepconv{part}"
            step = strides if part == len(widths) else 1
            x = layers.relu(f"{name}_act", x)
            x = separable(layers, name, x, scaled(channels, self.width), strides=step, rate=rate)
        if projected:
            name = f"block{block}_shortcut"
            start = layers.norm(f"{name}_bn", layers.conv(name, start, layers.channels[x], 1, strides=strides))
        return layers.sum(x, start)


def separable(layers: Layers, name: str, x: str, channels: int, *, strides: int = 1, rate: int = 1) -> str:
    """A separable convolution with batch norm behind both halves, and a ReLU behind the first."""
    x = layers.depthwise(f"{name}_depthwise", x, strides=strides, rate=rate)
    x = layers.relu(f"{name}_depthwise_act", layers.norm(f"{name}_depthwise_bn", x))
    x = layers.conv(f"{name}_pointwise", x, channels, 1)
    return layers.norm(f"{name}_pointwise_bn", x)
