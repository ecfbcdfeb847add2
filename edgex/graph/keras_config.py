"""Keras' ways to write down a model, read into one.

=====================  ==========================================  ===================================
                       Keras 3                                     Keras 2 (``tf_keras``)
=====================  ==========================================  ===================================
shape of an input      ``batch_shape``                             ``batch_input_shape``
a call of a layer      ``{"args": [tensor…], "kwargs": {…}}``      ``[[layer, call, output, {…}]…]``
a tensor               ``{"class_name": "__keras_tensor__", …}``   ``[layer, call, output, {…}]``
``a + b``              class ``Add`` of ``keras.src.ops.numpy``    class ``TFOpLambda``
=====================  ==========================================  ===================================

Calls of a layer are counted from 0, except that a model used as a layer has been called once before, on its own
inputs: Keras 2 counts that call, Keras 3 counts it only where it lists the outputs of the outer model.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from edgex.errors import ModelError
from edgex.graph.limits import NAME_LIMIT

Config = Mapping[str, Any]

FUNCTIONAL = ("Functional", "Model")
MODELS = (*FUNCTIONAL, "Sequential")
OPERATORS = ("Add", "Multiply")
"""Keras 3 writes ``a + b`` and ``a * b`` as operations of ``keras.ops`` with the names of layers that do the same."""

TF_FUNCTION = "TFOpLambda"
TF_OPERATORS = {"__operators__.add": "Add", "math.add": "Add", "math.multiply": "Multiply"}
"""Keras 2 writes them as functions of TensorFlow, behind one class of layer."""
TF_CONSTANT = "_CONSTANT_VALUE"

CUSTOM_CODE = ("Lambda", "__lambda__", "function")
TF_INITIALIZERS = "tensorflow.python.ops.init_ops_v2"
"""Where some of what Keras 2 fills fresh weights with comes from."""

SCALED_SUM = "CustomScaleLayer"
"""``a + scale * b``, which the InceptionResNetV2 of ``keras.applications`` brings along, as if it were a user's."""
SCALED_SUM_MODULES = tuple(f"{keras}.src.applications.inception_resnet_v2" for keras in ("keras", "tf_keras"))
SCALED_SUM_BRANCH = re.compile(r"block(35|17|8)_\d+_conv")
"""The layers of that network that it scales."""


class TensorRef(NamedTuple):
    """A tensor: which output of which call of which layer. All count from 0."""

    layer: str
    call: int
    output: int


Operand = TensorRef | float
Operands = tuple[Operand, ...]
"""What one call of a layer reads; a number stands only beside a tensor, in ``x + 3`` and ``x * 2``."""


@dataclass(frozen=True)
class Layer:
    """A layer, or a model used as one, and the tensors it is called on, call by call.

    The class is that of the layer that does the same where a file has an operator: ``x + 3`` is a Rescaling.
    """

    class_name: str
    name: str
    config: Config
    calls: tuple[tuple[TensorRef, ...], ...]
    model: "Model | None" = None


@dataclass(frozen=True)
class Model:
    """A Functional model; a Sequential one is read as a chain."""

    name: str
    layers: tuple[Layer, ...]
    inputs: tuple[TensorRef, ...]
    outputs: tuple[TensorRef, ...]


def parse_model(document: Config, supported: Collection[str]) -> Model:
    """Read a model's configuration.

    Args:
        document: ``config.json`` of a ``.keras`` file, or ``model_config`` of an ``.h5``.
        supported: class names of the layers that can be read.

    Raises:
        ModelError: a layer is not supported, or anything brings code of its own; names it.
        KeyError, TypeError, ValueError, …: the configuration is damaged.
    """
    if document["class_name"] not in MODELS:
        raise ModelError(
            f"it is of class {document['class_name']}, neither Functional nor Sequential",
            fix="Rebuild it as keras.Model(inputs, outputs), load its weights, and save that.",
        )
    fix = f"edgex runs no code from a file. Build the model from: {', '.join(sorted(supported))}."
    _refuse_custom_objects(document, fix)
    return _Parser(frozenset(supported), fix).model(document)


def _refuse_custom_objects(document: Config, fix: str) -> None:
    """Refuse whatever is not Keras' own, wherever it stands, except in what only training uses."""
    pending: list[tuple[str, Any]] = [("the model", document)]
    while pending:
        owner, item = pending.pop()
        if isinstance(item, dict):
            class_name = item.get("class_name")
            if isinstance(class_name, str):
                config = item.get("config")
                if isinstance(config, dict) and "name" in config:
                    owner = f"{class_name} {config['name']!r}"
                registered = str(item.get("registered_name") or class_name)
                package = str(item.get("module") or "keras").split(".")[0]
                custom = class_name in CUSTOM_CODE or ">" in registered or package not in ("keras", "tf_keras")
                if not _is_own_scaled_sum(item) if _class_name(item) == SCALED_SUM else custom:
                    raise ModelError(f"{owner} has code of its own ({_custom_name(item)})", fix=fix)
            pending.extend((owner, value) for key, value in item.items() if not _only_trains(key, value))
        elif isinstance(item, list):
            pending.extend((owner, value) for value in item)


def _only_trains(key: str, value: Any) -> bool:
    if key.endswith("_initializer") and isinstance(value, dict):
        return value.get("module") == TF_INITIALIZERS
    return key == "compile_config"


def _is_own_scaled_sum(item: Config) -> bool:
    """Whether a layer of the class :data:`SCALED_SUM` is Keras' own, not a user's of the same name.

    An ``.h5`` names no modules. There the layer must close a block of the network that Keras made it for.
    """
    if item.get("module") is not None:
        return item["module"] in SCALED_SUM_MODULES
    branches = [list(_call(item, call))[1:] for call in item["inbound_nodes"]]
    return all(isinstance(ref, TensorRef) and SCALED_SUM_BRANCH.fullmatch(ref.layer) for (ref,) in branches)


def _class_name(item: Config) -> str:
    """As the file has it, but that of Keras' scaling layer without the package in which Keras 2 registers it."""
    class_name = str(item["class_name"])
    return SCALED_SUM if class_name == f"Custom>{SCALED_SUM}" else class_name


def _custom_name(item: Config) -> str:
    config = item.get("config")
    return f"function {config}" if isinstance(config, str) else str(item.get("registered_name") or item["class_name"])


@dataclass(frozen=True)
class _Parser:
    supported: frozenset[str]
    fix: str

    def model(self, document: Config) -> Model:
        if document["class_name"] == "Sequential":
            return self._sequential(document["config"])
        return self._functional(document["config"])

    def _functional(self, config: Config) -> Model:
        documents = {_name(document): document for document in config["layers"]}
        if len(documents) < len(config["layers"]):
            raise ValueError("two layers have the same name")

        def resolve(ref: TensorRef, *, listed_as_output: bool = False) -> TensorRef:
            return ref._replace(call=ref.call - _own_calls(documents[ref.layer], listed_as_output))

        def operands(document: Config, call: Any) -> Operands:
            found = _call(document, call)
            return tuple(resolve(operand) if isinstance(operand, TensorRef) else operand for operand in found)

        layers = tuple(
            self._layer(document, (operands(document, call) for call in document["inbound_nodes"]))
            for document in documents.values()
        )
        ends = (_references(config[key]) for key in ("input_layers", "output_layers"))
        inputs, outputs = (tuple(resolve(ref, listed_as_output=True) for ref in refs) for refs in ends)
        return Model(_checked_name(config["name"]), layers, inputs, outputs)

    def _sequential(self, config: Config) -> Model:
        layers: list[Layer] = []
        for document in _with_input(config):
            calls: list[Operands] = [(TensorRef(layers[-1].name, 0, 0),)] if layers else []
            layers.append(self._layer(document, calls))
        first, last = TensorRef(layers[0].name, 0, 0), TensorRef(layers[-1].name, 0, 0)
        return Model(_checked_name(config["name"]), tuple(layers), (first,), (last,))

    def _layer(self, document: Config, calls: Iterable[Operands]) -> Layer:
        class_name, name, config = _class_name(document), _name(document), document["config"]
        if class_name in MODELS:
            return Layer(class_name, name, config, _tensors(calls), self.model(document))
        is_operation = str(document.get("module")).startswith("keras.src.ops")
        if class_name == TF_FUNCTION:
            is_operation, class_name = True, TF_OPERATORS.get(config["function"], config["function"])
        if class_name not in self.supported or (is_operation and class_name not in OPERATORS):
            raise ModelError(f"the layer {name!r} is of class {class_name}, which edgex does not support", fix=self.fix)
        calls = tuple(calls)
        numbers = {operand for call in calls for operand in call if not isinstance(operand, TensorRef)}
        if numbers:
            return _with_number(class_name, name, numbers, _tensors(calls))
        return Layer(class_name, name, config, _tensors(calls))


def _tensors(calls: Iterable[Operands]) -> tuple[tuple[TensorRef, ...], ...]:
    return tuple(tuple(operand for operand in call if isinstance(operand, TensorRef)) for call in calls)


def _with_number(
    class_name: str, name: str, numbers: Collection[float], calls: tuple[tuple[TensorRef, ...], ...]
) -> Layer:
    """``x + number`` or ``x * number``, as the Rescaling that does the same."""
    if len(numbers) > 1 or any(len(call) != 1 for call in calls):
        raise ModelError(
            f"the layer {name!r} ({class_name}) is called on the numbers {sorted(numbers)}",
            fix="Put constants into Rescaling layers.",
        )
    (number,) = numbers
    scale, offset = (1.0, number) if class_name == "Add" else (number, 0.0)
    return Layer("Rescaling", name, {"scale": scale, "offset": offset}, calls)


def _name(document: Config) -> str:
    return _checked_name(document.get("name") or document["config"]["name"])


def _checked_name(name: Any) -> str:
    """A name that every format and terminal can take. ValueError if it is none."""
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= NAME_LIMIT:
        raise ValueError(f"this is no name: {name!r}")
    return name


def _with_input(config: Config) -> list[Config]:
    """The layers of a Sequential model with an InputLayer first, which older files leave to the layer after it."""
    documents = list(config["layers"])
    first = documents[0]
    if first["class_name"] == "InputLayer":
        return documents
    shape = first["config"].get("batch_input_shape") or config.get("build_input_shape")
    name = f"{_name(first)}_input"
    return [{"class_name": "InputLayer", "config": {"name": name, "batch_shape": shape}}, *documents]


def _own_calls(document: Config, listed_as_output: bool) -> int:
    """How many calls that a model made on its own inputs are counted where the model is referred to as a layer."""
    if document["class_name"] not in MODELS:
        return 0
    is_functional = document["class_name"] in FUNCTIONAL
    if any(isinstance(call, dict) for call in document["inbound_nodes"][:1]):
        return int(is_functional and listed_as_output)
    first = document["config"]["layers"][0]
    return int(is_functional or first["class_name"] == "InputLayer" or "batch_input_shape" in first["config"])


def _call(document: Config, call: Any) -> Iterator[Operand]:
    """What one call of a layer reads."""
    if isinstance(call, dict):
        # Keras 3 notes training=True for every augmentation, as it is their default, and predicts without them
        augments = document["class_name"].startswith("Random")
        _check_arguments(document, {**call["kwargs"], "training": None} if augments else call["kwargs"])
        yield from _operands(document, call["args"])
        return
    for entry in [call] if isinstance(call[0], str) else call:
        layer, node, output, *arguments = entry
        yield _number(document, output) if layer == TF_CONSTANT else TensorRef(layer, node, output)
        for keywords in arguments:
            if document["class_name"] == TF_FUNCTION:
                second = keywords.get("y")
                yield TensorRef(*second) if _is_reference(second) else _number(document, second)
            else:
                _check_arguments(document, keywords)


def _is_reference(argument: Any) -> bool:
    return isinstance(argument, list) and bool(argument) and isinstance(argument[0], str)


def _operands(document: Config, argument: Any) -> Iterator[Operand]:
    if isinstance(argument, list):
        for item in argument:
            yield from _operands(document, item)
    elif isinstance(argument, dict) and argument.get("class_name") == "__keras_tensor__":
        yield TensorRef(*argument["config"]["keras_history"])
    else:
        yield _number(document, argument)


def _number(document: Config, argument: Any) -> float:
    """A constant that an operator is called on beside a tensor."""
    takes_numbers = document["class_name"] in (*OPERATORS, TF_FUNCTION)
    if takes_numbers and isinstance(argument, int | float) and not isinstance(argument, bool):
        return float(argument)
    raise ModelError(
        f"the layer {_name(document)!r} ({document['class_name']}) is called on {argument!r}, not on tensors alone",
        fix="Put constants into a Rescaling layer.",
    )


TRAINS_AS_IT_INFERS = ("Resizing",)
"""Layers that Keras calls with ``training=True``, and that do the same either way."""


def _check_arguments(document: Config, keywords: Config) -> None:
    """``training=False`` and empty masks are what inference does anyway."""
    ignored = (None, True, False) if document["class_name"] in TRAINS_AS_IT_INFERS else (None, False)
    unusual = [key for key, value in keywords.items() if value not in (ignored if key == "training" else (None,))]
    if unusual:
        raise ModelError(
            f"the layer {_name(document)!r} ({document['class_name']}) is called with {', '.join(unusual)}",
            fix="Call it on tensors alone.",
        )


def _references(structure: Any) -> Iterator[TensorRef]:
    """Tensors in ``input_layers`` or ``output_layers``: one, a list, or a dict of them."""
    if isinstance(structure, dict):
        structure = list(structure.values())
    if isinstance(structure[0], str):
        yield TensorRef(*structure)
        return
    for item in structure:
        yield from _references(item)
