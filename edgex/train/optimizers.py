"""The optimizers of recipes."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from edgex.train.recipes import Recipe

if TYPE_CHECKING:
    import tf_keras


def make_optimizer(recipe: Recipe, kernels: Collection[Any], variables: Collection[Any]) -> "tf_keras.Optimizer":
    """The optimizer of a recipe, whose learning rate is set before each step.

    Args:
        recipe: see there.
        kernels: the variables whose weights decay.
        variables: all that are trained.
    """
    import tf_keras

    match recipe.optimizer:
        case "adamw":
            optimizer = tf_keras.optimizers.AdamW(recipe.learning_rate, weight_decay=recipe.weight_decay)
            decaying = {kernel.ref() for kernel in kernels}
            optimizer.exclude_from_weight_decay([each for each in variables if each.ref() not in decaying])
            return optimizer
        case "sgd":
            return tf_keras.optimizers.SGD(recipe.learning_rate, recipe.momentum)
        case "rmsprop":
            return tf_keras.optimizers.RMSprop(recipe.learning_rate, momentum=recipe.momentum)


def coupled_decay(recipe: Recipe) -> float:
    """What of each weight of a kernel is added to its gradient: what the optimizer does not take by itself."""
    return 0.0 if recipe.optimizer == "adamw" else recipe.weight_decay
