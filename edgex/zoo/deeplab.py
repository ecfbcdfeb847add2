"""DeepLab V3+ for semantic segmentation, on the Modified Aligned Xception.

L.-C. Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation", ECCV 2018,
arXiv:1802.02611. The encoder ends in atrous spatial pyramid pooling: the last features by a 1×1 convolution, by atrous
separable ones of three rates, and as their mean over the image, put together and projected. The decoder brings that to
the size of the low-level features, which a 1×1 convolution reduces to 48 channels so that they do not outweigh it,
and refines both by two separable convolutions. The answer is brought to the size of the image.

Features of one resolution are brought to another's own height and width, with the centres of pixels at halves, as
Keras does it, and so images of any size will do. The published network aligns the corners of images instead, and wants
sizes of a multiple of the output stride plus one.
"""

from dataclasses import dataclass
from typing import Literal

from edgex.graph.ir import Graph, Pair
from edgex.zoo.aligned_xception import AlignedXception, separable
from edgex.zoo.layers import Layers, scaled

RATES = (6, 12, 18)
"""At an output stride of 16; they grow as the stride shrinks."""

PYRAMID = 256
LOW_LEVEL = 48
DECODER = 256


@dataclass(frozen=True)
class DeepLabV3Plus:
    """What to build.

    Attributes:
        width, depth, output_stride: of the backbone; the width multiplies the channels of pyramid and decoder, too.
    """

    width: float = 1.0
    depth: float = 1.0
    output_stride: Literal[8, 16, 32] = 16

    def graph(self, size: Pair, classes: int) -> Graph:
        """Without weights; the output is (height, width, classes)."""
        layers = Layers(size)
        features = AlignedXception(self.width, self.depth, self.output_stride).features(layers)
        x = self._pyramid(layers, features.last)
        reduced = self._convolution(layers, "decoder_low_level", features.low_level, LOW_LEVEL)
        x = layers.resize("decoder_upsampled", x, layers.size_of(reduced))
        x = layers.concat("decoder_concat", x, reduced)
        for part in (1, 2):
            x = self._separable(layers, f"decoder_sepconv{part}", x, DECODER)
        x = layers.conv("logits", x, classes, 1, bias=True)
        x = layers.resize("predictions", x, size)
        return layers.graph("deeplab_v3plus", layers.softmax(x))

    def _pyramid(self, layers: Layers, x: str) -> str:
        branches = [self._convolution(layers, "aspp_conv", x, PYRAMID)]
        for part, rate in enumerate(RATES, start=1):
            name, atrous = f"aspp_sepconv{part}", rate * 16 // self.output_stride
            branches.append(self._separable(layers, name, x, PYRAMID, rate=atrous))
        mean = self._convolution(layers, "aspp_pool_conv", layers.average("aspp_pool", x, keepdims=True), PYRAMID)
        branches.append(layers.resize("aspp_pool_upsampled", mean, layers.size_of(x)))
        return self._convolution(layers, "aspp_projection", layers.concat("aspp_concat", *branches), PYRAMID)

    def _convolution(self, layers: Layers, name: str, x: str, channels: int) -> str:
        """1×1, with batch norm and a ReLU."""
        x = layers.conv(name, x, scaled(channels, self.width), 1)
        return layers.relu(f"{name}_act", layers.norm(f"{name}_bn", x))

    def _separable(self, layers: Layers, name: str, x: str, channels: int, *, rate: int = 1) -> str:
        return layers.relu(f"{name}_act", separable(layers, name, x, scaled(channels, self.width), rate=rate))
