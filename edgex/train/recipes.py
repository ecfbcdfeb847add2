"""Recipes: how a network is trained from labels alone, by name.

``imagenet`` and ``jft`` are those of F. Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", CVPR
2017, arXiv:1610.02357, sections 4.3 and 4.4, without the average of the weights over steps (Polyak's) that the paper
takes in the end. The paper trained on 60 GPUs and gives neither the images in a step nor the passes over them, so those
of both are ours, and a rate that was right there may be high for a step of few images.

``modern`` is short, for some hundreds to some ten thousand images: AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101),
a warm-up and a cosine, smoothed labels (Szegedy et al. 2016, arXiv:1512.00567).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgex.errors import UsageError
from edgex.train.batches import Augment


@dataclass(frozen=True)
class Run:
    """How long a training is.

    Attributes:
        steps: in all.
        per_epoch: steps in a pass over the images.
        batch: images in a step.
    """

    steps: int
    per_epoch: int
    batch: int


@dataclass(frozen=True)
class Cosine:
    """From nothing to the rate in ``warm_up`` of all steps, along a line, and back along half a cosine."""

    warm_up: float

    def factor(self, step: int, run: Run) -> float:
        rising = math.ceil(self.warm_up * run.steps)
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, run.steps - rising)))


@dataclass(frozen=True)
class EpochDecay:
    """Times ``rate`` after every ``epochs`` epochs."""

    rate: float
    epochs: int

    def factor(self, step: int, run: Run) -> float:
        return float(self.rate ** (step // (self.epochs * run.per_epoch)))


@dataclass(frozen=True)
class SampleDecay:
    """Times ``rate`` after every ``samples`` images, those seen again counted again."""

    rate: float
    samples: int

    def factor(self, step: int, run: Run) -> float:
        return float(self.rate ** (step * run.batch // self.samples))


@dataclass(frozen=True)
class Recipe:
    """How to train from labels.

    Attributes:
        optimizer: ``adamw`` takes its weight decay beside the gradient, the others with it, as L2 regularization.
        learning_rate: at its highest, for weights that begin at random.
        schedule: what it is multiplied by as training goes on.
        fine_tuning: what it is multiplied by where the weights have been trained before.
        momentum: of SGD and RMSprop; AdamW has its own.
        weight_decay: what of each weight of a kernel is added to its gradient; biases and batch norm keep theirs.
        dropout: share of what the layer of the logits reads that is left out of a step.
        label_smoothing: share of the truth that is spread over all classes.
        augment: see :class:`edgex.train.batches.Batches`.
        epochs: passes over the images.
        batch: images in a step.
    """

    optimizer: Literal["adamw", "sgd", "rmsprop"]
    learning_rate: float
    schedule: Cosine | EpochDecay | SampleDecay
    fine_tuning: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 0.0
    dropout: float = 0.0
    label_smoothing: float = 0.0
    augment: Augment = "flip"
    epochs: int = 90
    batch: int = 32

    def rate(self, step: int, run: Run) -> float:
        """The learning rate of a step, the first of which is 0."""
        return self.learning_rate * self.schedule.factor(step, run)


RECIPES: Mapping[str, Recipe] = {
    "modern": Recipe(
        optimizer="adamw",
        learning_rate=2e-3,
        schedule=Cosine(warm_up=0.1),
        fine_tuning=0.1,
        weight_decay=0.05,
        label_smoothing=0.1,
        epochs=10,
    ),
    "imagenet": Recipe(
        optimizer="sgd",
        learning_rate=0.045,
        schedule=EpochDecay(rate=0.94, epochs=2),
        weight_decay=1e-5,
        dropout=0.5,
    ),
    "jft": Recipe(
        optimizer="rmsprop",
        learning_rate=1e-3,
        schedule=SampleDecay(rate=0.9, samples=3_000_000),
        weight_decay=1e-5,
    ),
}
"""The first is the default."""


def recipe_named(name: str) -> Recipe:
    """One of :data:`RECIPES`. UsageError if there is none of that name."""
    if name not in RECIPES:
        raise UsageError(f"--recipe {name!r} is unknown.", fix=f"Choose one of {', '.join(RECIPES)}.")
    return RECIPES[name]
