"""Recipes: rates as the papers say, weight decay of kernels alone, dropout that can be drawn again."""

import math
from dataclasses import replace

import numpy as np
import pytest
from training_support import MINI_SIZE, normalized, pixels

from edgex.dataset import open_dataset
from edgex.errors import UsageError
from edgex.graph.ir import Array
from edgex.train.batches import Batch
from edgex.train.fake_quant import read_weights
from edgex.train.recipes import RECIPES, Cosine, EpochDecay, Recipe, Run, SampleDecay, recipe_named
from edgex.train.sparsity import Sparsity
from edgex.train.student import Student

RUN = Run(steps=100, per_epoch=10, batch=32)


# Schedules


@pytest.mark.parametrize(
    ("epoch", "factor"), [(0, 1.0), (1, 1.0), (2, 0.94), (3, 0.94), (4, 0.94**2), (9, 0.94**4), (89, 0.94**44)]
)
def test_the_rate_for_imagenet_falls_every_second_epoch(epoch: int, factor: float) -> None:
    recipe, run = RECIPES["imagenet"], replace(RUN, steps=900)
    for step in (10 * epoch, 10 * epoch + 9):
        assert recipe.rate(step, run) == pytest.approx(0.045 * factor, rel=1e-12)


@pytest.mark.parametrize(
    ("samples", "factor"), [(0, 1.0), (3_000_000, 0.9), (6_000_000, 0.81), (300_000_000, 0.9**100)]
)
def test_the_rate_for_jft_falls_every_three_million_samples(samples: int, factor: float) -> None:
    recipe, run = RECIPES["jft"], Run(steps=10**8, per_epoch=10, batch=32)
    step = samples // 32
    assert step * 32 == samples
    assert recipe.rate(step, run) == pytest.approx(1e-3 * factor, rel=1e-12)
    if step:
        assert recipe.rate(step - 1, run) == pytest.approx(1e-3 * factor / 0.9, rel=1e-12)


def test_the_modern_rate_rises_and_falls() -> None:
    recipe = replace(RECIPES["modern"], learning_rate=1.0, schedule=Cosine(warm_up=0.1))
    rates = [recipe.rate(step, RUN) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[32] == pytest.approx(0.5 * (1 + math.cos(math.pi * 22 / 90)))
    assert 0 < rates[99] < 1e-3
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_without_a_warm_up_it_begins_at_the_top() -> None:
    assert Cosine(warm_up=0.0).factor(0, RUN) == 1.0


def test_the_papers_recipes() -> None:
    """Chollet 2017, sections 4.3 to 4.5."""
    imagenet, jft = RECIPES["imagenet"], RECIPES["jft"]
    assert (imagenet.optimizer, imagenet.momentum, imagenet.learning_rate) == ("sgd", 0.9, 0.045)
    assert imagenet.schedule == EpochDecay(0.94, 2)
    assert (jft.optimizer, jft.momentum, jft.learning_rate) == ("rmsprop", 0.9, 0.001)
    assert jft.schedule == SampleDecay(0.9, 3_000_000)
    assert (imagenet.weight_decay, imagenet.dropout) == (1e-5, 0.5)
    assert (jft.weight_decay, jft.dropout) == (1e-5, 0.0)


def test_an_unknown_recipe() -> None:
    with pytest.raises(UsageError, match="'secret'") as refusal:
        recipe_named("secret")
    assert refusal.value.fix == "Choose one of modern, imagenet, jft."


# Steps

DATASET = open_dataset("digits", role="training").sample(16)
BATCH = Batch(pixels(DATASET, MINI_SIZE), np.asarray(DATASET.labels))
GRAPH = normalized()


def student(recipe: Recipe, seed: int = 0) -> Student:
    return Student(GRAPH, None, None, recipe, labelled=True, threads=2, seed=seed)


def weights(student: Student) -> dict[str, Array]:
    read = read_weights(student.model, GRAPH)
    return {f"{name}.{param}": array for name, params in read.items() for param, array in params.items()}


def after_a_step(recipe: Recipe, rate: float) -> dict[str, Array]:
    made = student(recipe)
    made.set_learning_rate(rate)
    made.step(BATCH, follow=True)
    return weights(made)


@pytest.mark.parametrize("name", RECIPES)
def test_weight_decay_is_of_kernels_alone(name: str) -> None:
    """And as much as its recipe says: beside the gradient, or in it."""
    decay, rate = 0.5, 0.1
    recipe = replace(RECIPES[name], dropout=0.0, weight_decay=decay)
    with_decay, without = after_a_step(recipe, rate), after_a_step(replace(recipe, weight_decay=0.0), rate)
    before = weights(student(recipe))
    for key, array in with_decay.items():
        if not key.endswith(".kernel"):
            np.testing.assert_array_equal(array, without[key], err_msg=key)
            continue
        moved = array - without[key]
        if name == "jft":  # which divides by the size of the gradient that the decay is a part of
            assert np.abs(moved).max() > 1e-3
        else:
            np.testing.assert_allclose(moved, -rate * decay * before[key], atol=2e-6, err_msg=key)


def test_the_rate_is_that_which_is_set() -> None:
    recipe = replace(RECIPES["imagenet"], dropout=0.0, weight_decay=0.0)
    before = weights(student(recipe))
    once, twice = (after_a_step(recipe, rate) for rate in (1e-3, 2e-3))
    key = "logits.kernel"
    np.testing.assert_allclose(twice[key] - before[key], 2 * (once[key] - before[key]), atol=1e-6)
    assert np.abs(once[key] - before[key]).max() > 1e-5


def test_a_step_tells_the_loss_before_it() -> None:
    recipe = replace(RECIPES["modern"], label_smoothing=0.1)
    made = student(recipe)
    logits = made.model(BATCH.images, training=False).numpy().astype(np.float64)
    answered = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    truth = np.full((16, 10), 0.01) + 0.9 * np.eye(10)[BATCH.labels]
    assert made.step(BATCH, follow=False) == pytest.approx(-(truth * answered).sum(axis=1).mean(), rel=1e-4)


def test_smoothing_is_not_of_what_is_held_out() -> None:
    smooth, plain = (student(replace(RECIPES["modern"], label_smoothing=share)) for share in (0.3, 0.0))
    assert smooth.evaluate([BATCH]) == plain.evaluate([BATCH])


def test_dropout_leaves_out_the_same_again() -> None:
    """By the seed and the step, and not by what was drawn before: so a run that goes on does the same."""
    recipe = replace(RECIPES["imagenet"], dropout=0.5)
    one, other, third = student(recipe), student(recipe), student(recipe, seed=1)
    for each in (one, other, third):
        each.set_learning_rate(1e-3)
    losses = [one.step(BATCH, follow=True) for _ in range(3)]
    assert losses[0] == other.step(BATCH, follow=True)
    assert losses[0] != third.step(BATCH, follow=True)
    middle = student(recipe)
    middle.restore(other.state)
    middle.set_learning_rate(1e-3)
    assert [middle.step(BATCH, follow=True) for _ in range(2)] == losses[1:]
    plain = student(replace(recipe, dropout=0.0))
    assert plain.evaluate([BATCH]) == student(recipe).evaluate([BATCH])
    assert losses[0] != plain.step(BATCH, follow=True)


def test_what_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="neither a teacher nor labels"):
        Student(GRAPH, None, None, RECIPES["modern"], labelled=False, threads=2)
    sparsity = Sparsity("magnitude", 0.5)
    with pytest.raises(ValueError, match="recipes are for"):
        Student(GRAPH, None, None, RECIPES["modern"], labelled=True, threads=2, sparsity=sparsity)
