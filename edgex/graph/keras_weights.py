"""Where the two Keras formats keep each variable of each layer.

``.keras``: ``layers/<class>_<n>/vars/<i>``. The layer's name does not appear; ``n`` counts layers of one class in the
order of the configuration, and the first has no number. A model inside repeats the scheme under its own group.

``.h5``: ``model_weights/<layer>`` lists its variables in ``weight_names``. A model inside has one such list for all its
layers: first what is trained, layer by layer, then what is not (moving averages, and all of a frozen layer).
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from edgex.errors import ModelError
from edgex.graph.hdf5 import Hdf5File
from edgex.graph.ir import Array
from edgex.graph.keras_archive import SAVE_AGAIN, KerasFile
from edgex.graph.keras_config import Layer, Model
from edgex.graph.keras_layers import LAYERS

NEVER_TRAINED = ("mean", "variance", "count")

LayerPath = tuple[str, ...]
"""Names of the models around a layer, outermost first, then its own."""

Weights = Mapping[LayerPath, Mapping[str, Array]]


def read_weights(model: Model, file: KerasFile) -> Weights:
    """All weights of a model, by layer and then by the names that :data:`edgex.graph.keras_layers.LAYERS` gives them.

    Raises:
        ModelError: some are missing, too many, not plain numbers, or not finite; names them.
    """
    located = _in_archive(model, file.weights, "", ()) if file.is_archive else _in_legacy(model, file.weights)
    weights: dict[LayerPath, dict[str, Array]] = {}
    for path, variable, place in located:
        weights.setdefault(path, {})[variable] = file.weights.array(place)
    broken = [
        f"{'/'.join(path)}/{variable}"
        for path, arrays in weights.items()
        for variable, array in arrays.items()
        if not np.isfinite(array).all()
    ]
    if broken:
        named = ", ".join(broken[:10]) + (f" and {len(broken) - 10} more" if len(broken) > 10 else "")
        raise ModelError(
            f"its weights hold NaN or infinity: {named}", fix="Train the model again, or from a checkpoint."
        )
    return weights


def _variables(layer: Layer) -> tuple[str, ...]:
    return LAYERS[layer.class_name].variables(layer.config)


def _in_archive(model: Model, file: Hdf5File, root: str, outer: LayerPath) -> Iterator[tuple[LayerPath, str, str]]:
    seen: Counter[str] = Counter()
    for layer in model.layers:
        stem = _snake_case(layer.class_name)
        group = f"{root}layers/{stem}_{seen[stem]}" if seen[stem] else f"{root}layers/{stem}"
        seen[stem] += 1
        path = (*outer, layer.name)
        if layer.model:
            yield from _in_archive(layer.model, file, f"{group}/", path)
            continue
        variables = _variables(layer)
        _check_count(layer.name, variables, file.members(f"{group}/vars"))
        for index, variable in enumerate(variables):
            yield path, variable, f"{group}/vars/{index}"


def _snake_case(class_name: str) -> str:
    """As Keras forms it: BatchNormalization → batch_normalization, Conv2D → conv2d, ReLU → re_lu."""
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", class_name)).lower()


def _in_legacy(model: Model, file: Hdf5File) -> Iterator[tuple[LayerPath, str, str]]:
    for layer in model.layers:
        group = f"model_weights/{layer.name}"
        names = file.texts(group, "weight_names")
        slots = _saving_order(layer)
        _check_count(layer.name, [variable for _, variable in slots], names)
        for (path, variable), name in zip(slots, names, strict=True):
            if variable not in name.rsplit("/", 1)[-1]:
                raise ModelError(
                    f"the weights of {'/'.join(path)} are out of order: {name} is no {variable}", fix=SAVE_AGAIN
                )
            yield path, variable, f"{group}/{name}"


def _saving_order(layer: Layer) -> list[tuple[LayerPath, str]]:
    trained: list[tuple[LayerPath, str]] = []
    others: list[tuple[LayerPath, str]] = []
    for path, leaf, frozen in _leaves(layer, (), frozen=False):
        for variable in _variables(leaf):
            (others if frozen or variable in NEVER_TRAINED else trained).append((path, variable))
    return trained + others


def _leaves(layer: Layer, outer: LayerPath, *, frozen: bool) -> Iterator[tuple[LayerPath, Layer, bool]]:
    path = (*outer, layer.name)
    frozen = frozen or layer.config.get("trainable") is False
    if layer.model is None:
        yield path, layer, frozen
        return
    for inner in layer.model.layers:
        yield from _leaves(inner, path, frozen=frozen)


def _check_count(layer: str, expected: tuple[str, ...] | list[str], found: tuple[str, ...] | list[str]) -> None:
    if len(expected) != len(found):
        raise ModelError(
            f"the layer {layer!r} has {len(found)} weights in the file, not {len(expected)} ({', '.join(expected)})",
            fix=SAVE_AGAIN,
        )
