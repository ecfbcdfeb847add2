"""Models as users of PyTorch write them, exported by both of its exporters, with PyTorch's own answers.

    python torch_models.py FOLDER

An environment of its own runs this: PyTorch, NumPy and ONNX are all that it has. It writes for each model
``FOLDER/<model>.npz`` with ``images`` float32 (images, channels, height, width) and ``answers``, and
``FOLDER/<model>.<exporter>.<shape>.onnx``. Batch norms get random statistics and factors, so that one in the wrong
place shows.
"""

import contextlib
import io
import itertools
import logging
import sys
import warnings
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its users' habit
from torch import Tensor, nn

IMAGES = 3
EXPORTERS: Mapping[str, bool] = {"torchscript": False, "dynamo": True}
"""What ``dynamo`` of torch.onnx.export is."""


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    for name, (build, side) in MODELS.items():
        torch.manual_seed(0)
        model = randomized(build()).eval()
        # Each in a colour of its own, which is what pools over the whole image leave
        images = torch.randn(IMAGES, 3, side, side) + torch.randn(IMAGES, 3, 1, 1)
        if name == "normalized":
            images = 60 * images + 120
        elif name == "channels last":
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            np.savez(folder / f"{name}.npz", images=images.numpy(), answers=model(images).numpy())
        for exporter in EXPORTERS:
            for shape in (shape for shape, models in SHAPES.items() if name in models):
                export(model, images, folder / f"{name}.{exporter}.{shape}.onnx", exporter, shape)


def randomized(model: nn.Module) -> nn.Module:
    """With statistics of batch norms as if it were trained, and kernels that let the image show in the answers."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0.0, 0.3)
            nn.init.uniform_(module.running_var, 0.4, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.3)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)  # with PyTorch's own an image fades from layer to layer
        elif isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.1, 0.4)
    return model


def export(model: nn.Module, images: Tensor, path: Path, exporter: str, shape: str) -> None:
    """To one file, with its weights inside; whatever the exporter says is kept back unless it fails."""
    given = images[:1] if shape == "one" else images
    axes = {"one": (), "any": (0,), "open": (0, 2, 3)}[shape]
    options: dict[str, object] = {}
    if axes and EXPORTERS[exporter]:
        options["dynamic_shapes"] = (dict.fromkeys(axes, torch.export.Dim.DYNAMIC),)
    elif axes:
        options["dynamic_axes"] = {"image": {axis: f"axis {axis}" for axis in axes}, "result": {0: "axis 0"}}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (given,),
            path,
            input_names=["image"],
            output_names=["result"],
            dynamo=EXPORTERS[exporter],
            external_data=False,
            **options,
        )


# Xception


class SeparableConv2d(nn.Module):
    """A depthwise convolution, then a pointwise one."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, padding: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inputs, kernel, padding=padding, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.conv1(x))


class Block(nn.Module):
    """Separable convolutions, each behind a ReLU and before a batch norm, and a shortcut around them.

    Args:
        inputs: channels that it reads.
        outputs: channels that it makes.
        repetitions: separable convolutions.
        stride: 2 halves the image, by a max-pool.
        starts_with_relu: whether there is one before the first.
        grows_first: whether the first convolution makes the outputs, or the last.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        repetitions: int,
        stride: int = 1,
        *,
        starts_with_relu: bool = True,
        grows_first: bool = True,
    ) -> None:
        super().__init__()
        self.skip = None
        if outputs != inputs or stride != 1:
            self.skip = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.skipbn = nn.BatchNorm2d(outputs)
        grown = 0 if grows_first else repetitions - 1
        widths = [inputs if number <= grown else outputs for number in range(repetitions + 1)]
        layers: list[nn.Module] = []
        for read, made in itertools.pairwise(widths):
            layers += [nn.ReLU(inplace=True), SeparableConv2d(read, made), nn.BatchNorm2d(made)]
        layers[0] = nn.ReLU(inplace=False)  # the shortcut reads what is before it
        if stride != 1:
            layers.append(nn.MaxPool2d(3, stride, 1))
        self.rep = nn.Sequential(*layers[0 if starts_with_relu else 1 :])

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.skip is None else self.skipbn(self.skip(x))
        y = self.rep(x)
        y += shortcut
        return y


class Xception(nn.Module):
    """Xception (Chollet 2017, https://arxiv.org/abs/1610.02357): entry, middle and exit flow; it gives logits.

    Args:
        width: a factor on the numbers of channels.
        middle: blocks of the middle flow, 8 in the paper.
        classes: of images.
    """

    def __init__(self, width: float = 1.0, middle: int = 8, classes: int = 10) -> None:
        super().__init__()
        c32, c64, c128, c256, c728, c1024, c1536, c2048 = (
            round(channels * width) for channels in (32, 64, 128, 256, 728, 1024, 1536, 2048)
        )
        self.conv1 = nn.Conv2d(3, c32, 3, 2, 0, bias=False)
        self.bn1 = nn.BatchNorm2d(c32)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(c32, c64, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(c64)
        self.entry = nn.Sequential(
            Block(c64, c128, 2, 2, starts_with_relu=False), Block(c128, c256, 2, 2), Block(c256, c728, 2, 2)
        )
        self.middle = nn.Sequential(*(Block(c728, c728, 3) for _ in range(middle)))
        self.exit = Block(c728, c1024, 2, 2, grows_first=False)
        self.conv3 = SeparableConv2d(c1024, c1536)
        self.bn3 = nn.BatchNorm2d(c1536)
        self.conv4 = SeparableConv2d(c1536, c2048)
        self.bn4 = nn.BatchNorm2d(c2048)
        self.fc = nn.Linear(c2048, classes)

    def features(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.exit(self.middle(self.entry(x)))
        x = self.relu(self.bn3(self.conv3(x)))
        return self.bn4(self.conv4(x))

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.features(x))
        x = F.adaptive_avg_pool2d(x, (1, 1))
        x = x.view(x.size(0), -1)
        return self.fc(x)


# Other habits


class BasicConv2d(nn.Module):
    """Convolution, batch norm, ReLU, as torchvision's Inception has them."""

    def __init__(self, inputs: int, outputs: int, kernel: int | tuple[int, int], **options: object) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, bias=False, **options)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Inception(nn.Module):
    """Branches that are joined: narrow kernels, and pools that count their padding and that do not."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = BasicConv2d(3, 16, 3, stride=2)
        self.one = BasicConv2d(16, 8, 1)
        self.seven = nn.Sequential(
            BasicConv2d(16, 6, (1, 7), padding=(0, 3)), BasicConv2d(6, 8, (7, 1), padding=(3, 0))
        )
        self.pool = BasicConv2d(16, 8, 1)
        self.dropout = nn.Dropout()
        self.fc = nn.Linear(56, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        counted = self.pool(F.avg_pool2d(x, kernel_size=3, stride=1, padding=1))
        left_out = F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        x = torch.cat([self.one(x), self.seven(x), counted, left_out, F.max_pool2d(x, 3, 1, 1)], 1)
        x = F.max_pool2d(x, kernel_size=3, stride=2, ceil_mode=True)
        x = torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)
        return self.fc(self.dropout(x))


class SqueezeExcitation(nn.Module):
    """Channels weighed by what the whole image shows."""

    def __init__(self, channels: int, gate: nn.Module) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, 4, 1)
        self.fc2 = nn.Conv2d(4, channels, 1)
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(self.fc2(F.relu(self.fc1(self.avgpool(x))))) * x


class InvertedResidual(nn.Module):
    """Of MobileNet V2 and V3."""

    def __init__(self, activation: Callable[[], nn.Module], gate: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(8, 24, 1, bias=False),
            nn.BatchNorm2d(24, momentum=0.01),
            activation(),
            nn.Conv2d(24, 24, 5, 1, 2, groups=24, bias=False),
            nn.BatchNorm2d(24),
            activation(),
            SqueezeExcitation(24, gate),
            nn.Conv2d(24, 8, 1, bias=False),
            nn.BatchNorm2d(8),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


class Normalized(nn.Module):
    """The network takes pixels from 0 to 255, and knows what to do with them; its head gives probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        self.conv = nn.Conv2d(3, 8, 3, padding="same", dilation=2)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = (x / 255.0 - self.mean) / self.std
        x = F.relu(self.conv(F.pad(x, (1, 2, 0, 1)))).mean([2, 3])
        return F.softmax(self.fc(x), dim=1)


class Dense(nn.Module):
    """A layer of DenseNet: each reads all before it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(3, 8, 7, 2, 3, bias=False)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(channels), nn.ReLU(inplace=True), nn.Conv2d(channels, 4, 3, padding=1, bias=False)
            )
            for channels in (8, 12, 16)
        )
        self.norm = nn.BatchNorm2d(20)
        self.pool = nn.AvgPool2d(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv0(x))
        for layer in self.layers:
            x = torch.cat((x, layer(x)), dim=1)
        return self.pool(self.norm(x))


class Segmenter(nn.Module):
    """Atrous pooling and a decoder, as in DeepLab V3+: resized to sizes that are asked for while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(BasicConv2d(3, 8, 3, stride=2, padding=1), BasicConv2d(8, 8, 3, padding=1))
        self.body = nn.Sequential(SeparableConv2d(8, 16), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.rates = nn.ModuleList(
            BasicConv2d(16, 8, 3, padding=rate, dilation=rate) if rate else BasicConv2d(16, 8, 1) for rate in (0, 2, 4)
        )
        self.pooling = nn.Sequential(nn.AdaptiveAvgPool2d(1), BasicConv2d(16, 8, 1))
        self.project = BasicConv2d(32, 8, 1)
        self.classifier = nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        low = self.stem(x)
        high = self.body(low)
        whole = F.interpolate(self.pooling(high), size=high.shape[-2:], mode="bilinear", align_corners=False)
        y = self.project(torch.cat([*(branch(high) for branch in self.rates), whole], dim=1))
        y = F.interpolate(y, size=low.shape[2:], mode="bilinear", align_corners=False)
        y = self.classifier(torch.cat([y, low], dim=1))
        return F.interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=False)


class UNet(nn.Module):
    """Down, and up again by factors; nearest and bilinear."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = BasicConv2d(3, 8, 3, padding=1), BasicConv2d(8, 16, 3, padding=1)
        self.deepest = BasicConv2d(16, 16, 3, padding=1)
        self.up2, self.up1 = BasicConv2d(32, 8, 3, padding=1), BasicConv2d(16, 8, 3, padding=1)
        self.nearest = nn.Upsample(scale_factor=2, mode="nearest")
        self.bilinear = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.last = nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.down1(x)
        second = self.down2(F.max_pool2d(first, 2))
        y = self.nearest(self.deepest(F.max_pool2d(second, 2)))
        y = self.bilinear(self.up2(torch.cat([y, second], dim=1)))
        y = self.up1(torch.cat([y, first], dim=1))
        return torch.sigmoid(self.last(F.interpolate(y, scale_factor=(1, 3))))


class ResNetD(nn.Module):
    """Pools with ceil_mode, counting padding or not, and sums of other kinds than two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = BasicConv2d(3, 8, 3)
        self.counted = nn.AvgPool2d(2, 2, ceil_mode=True)
        self.not_counted = nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False)
        self.largest = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.scale = nn.Parameter(torch.rand(1, 8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.counted(F.relu6(x)) - self.not_counted(x) + 0.3 * self.scale * self.largest(x)
        return torch.clamp(-y, min=-1.5) + 1


class GlobalMax(nn.Module):
    """Both ways over the whole image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.fc = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.fc(torch.cat([x.amax((2, 3)), F.adaptive_max_pool2d(x, 1).flatten(1)], dim=-1))


def stem(*layers: nn.Module) -> nn.Sequential:
    """Some layers on 8 channels with values on both sides of zero."""
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), *layers)


def after_stem(*activations: nn.Module) -> nn.Sequential:
    """Each activation behind a convolution of its own."""
    return stem(*(each for activation in activations for each in (activation, nn.Conv2d(8, 8, 1))))


def flattened() -> nn.Sequential:
    return stem(
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * 8 * 8, 24),
        nn.BatchNorm1d(24),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(24, 10),
        nn.Softmax(dim=1),
    )


def grouped() -> nn.Sequential:
    return stem(
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1, groups=4, bias=False),
        nn.BatchNorm2d(16),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, groups=16),
        nn.Conv2d(32, 8, 3, padding=4, dilation=4, groups=8),
    )


def channels_last() -> nn.Module:
    """As PyTorch advises it for speed; its pool then sets the strides of what it makes."""
    model = stem(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    return model.to(memory_format=torch.channels_last)


MODELS: Mapping[str, tuple[Callable[[], nn.Module], int]] = {
    "xception": (lambda: Xception(width=1 / 16, middle=1), 64),
    "inception": (Inception, 33),
    "grouped": (grouped, 32),
    "mobilenet v2": (lambda: stem(InvertedResidual(nn.ReLU6, nn.Sigmoid())), 32),
    "mobilenet v3": (lambda: stem(nn.Hardswish(), InvertedResidual(nn.Hardswish, nn.Hardsigmoid())), 32),
    "efficientnet": (lambda: stem(nn.SiLU(inplace=True), InvertedResidual(nn.SiLU, nn.Sigmoid())), 32),
    "normalized": (Normalized, 32),
    "channels last": (channels_last, 32),
    "densenet": (Dense, 32),
    "flattened": (flattened, 32),
    "resnet d": (ResNetD, 31),
    "segmenter": (Segmenter, 32),
    "u-net": (UNet, 32),
    "global max": (GlobalMax, 32),
    "smooth activations": (lambda: after_stem(nn.GELU(), nn.Sigmoid(), nn.Tanh(), nn.Softplus(), nn.Mish()), 32),
    "bent activations": (
        lambda: after_stem(
            nn.Hardtanh(0, 6), nn.Hardtanh(), nn.LeakyReLU(0.1), nn.ELU(), nn.PReLU(8), nn.Hardtanh(-2, 1)
        ),
        32,
    ),
}
"""Each model with the height and width of its images."""

SHAPES: Mapping[str, Collection[str]] = {
    "one": ("channels last", "flattened", "global max", "segmenter", "u-net", "xception"),
    "any": MODELS.keys(),
    "open": ("segmenter", "u-net"),
}
"""Which models are exported for one image, for any number of them, and for any number of any size."""

if __name__ == "__main__":
    main()
