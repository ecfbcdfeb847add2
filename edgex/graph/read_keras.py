"""Reading a Keras model into a graph, as data: no Keras, no TensorFlow, no code from the file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from heapq import heappop, heappush
from itertools import chain, count
from pathlib import Path

from edgex.errors import ModelError, UsageError
from edgex.graph.building import Nodes
from edgex.graph.ir import Graph, Input, Node
from edgex.graph.keras_archive import SAVE_AGAIN, naming, open_keras
from edgex.graph.keras_call import Call
from edgex.graph.keras_config import Layer, Model, parse_model
from edgex.graph.keras_layers import LAYERS, read_call
from edgex.graph.keras_weights import LayerPath, Weights, read_weights
from edgex.graph.limits import LAYER_LIMIT

CallId = tuple[str, int]


def read_keras(path: Path, *, input_size: int | None = None) -> Graph:
    """Read a ``.keras`` or ``.h5`` file of Keras 3 or tf_keras.

    Functional and Sequential models; models inside them are flattened. Layer names are kept. Where a name is taken,
    a layer of an inner model becomes ``inner/layer``, and the second call of a shared layer ``layer_1``. What leads
    to no output is left out. Weights become float32, whatever they were saved as.

    Args:
        path: the file.
        input_size: height and width to give to the input images, in pixels, instead of those in the file.

    Raises:
        UsageError: there is no such file; the size of the images is open and not given; or the model cannot take
            the size given.
        ModelError: not a Keras model, damaged, unsafe, or with something that is not supported; names it.
        OutputError: the file cannot be opened.
    """
    if input_size is not None and input_size < 1:
        raise UsageError(f"The input size {input_size} is not positive.", fix="Give it in pixels, like 299.")
    with naming(path), open_keras(path) as file:
        model = parse_model(file.config, LAYERS)
        weights = read_weights(model, file)
        graph = _Builder(weights, not file.keras_version.startswith("3"), input_size).graph(model)
        policies = sorted(_short_float_policies(model))
        notes = (f"The model was built with the dtype policy {policy}; it is read as float32." for policy in policies)
        return replace(graph, notes=tuple(notes))


def _short_float_policies(model: Model) -> set[str]:
    """Policies like ``mixed_float16`` and ``bfloat16`` among the layers."""
    policies: set[str] = set()
    for layer in model.layers:
        dtype = layer.config.get("dtype")
        name = str(dtype["config"].get("name") if isinstance(dtype, dict) else dtype)
        if layer.model:
            policies |= _short_float_policies(layer.model)
        elif layer.class_name != "InputLayer" and "float16" in name:
            policies.add(name)
    return policies


@dataclass
class _Builder:
    """Runs a model's layer calls in order and collects the nodes that they become."""

    weights: Weights
    keras_2: bool
    input_size: int | None
    nodes: Nodes = field(default_factory=Nodes)
    names: set[str] = field(default_factory=set)
    layers_read: int = 0

    def graph(self, model: Model) -> Graph:
        self.names.update(layer.name for layer in model.layers)
        layers = {layer.name: layer for layer in model.layers}
        inputs = [self._input(layers[ref.layer]) for ref in model.inputs]
        outputs = self._model(model, (), "", inputs)
        return self.nodes.graph(model.name, outputs)

    def _input(self, layer: Layer) -> str:
        batch_shape = layer.config.get("batch_shape", layer.config.get("batch_input_shape"))
        if batch_shape is None:
            raise ModelError("it was saved before it was built, without the shape of its input", fix=SAVE_AGAIN)
        shape = tuple(batch_shape[1:])
        if len(shape) == 3 and self.input_size is not None:
            shape = (self.input_size, self.input_size, shape[2])
        if len(shape) == 3 and None in shape[:2]:
            raise UsageError(
                f"the height and width of its input {layer.name!r} are open", fix="Give them with --input-size N."
            )
        if not all(isinstance(size, int) and size > 0 for size in shape):
            raise ModelError(f"its input {layer.name!r} has the shape {shape}", fix="Build it for images of one size.")
        with self._fitting(layer):
            self.nodes.append(Node(layer.name, Input(shape)))
        return layer.name

    def _model(self, model: Model, path: LayerPath, prefix: str, inputs: Sequence[str]) -> tuple[str, ...]:
        """Call a model on tensors; returns the tensors that it makes.

        Args:
            path: names of the models around its layers.
            prefix: what sets its layers' names apart where they are taken.
        """
        self._count(model)
        tensors: dict[CallId, tuple[str, ...]] = {
            (ref.layer, 0): (name,) for ref, name in zip(model.inputs, inputs, strict=True)
        }
        layers = {layer.name: layer for layer in model.layers}
        for name, number in _call_order(model):
            layer = layers[name]
            read = tuple(tensors[ref.layer, ref.call][ref.output] for ref in layer.calls[number])
            if layer.model is None:
                tensors[name, number] = (self._layer(layer, path, self._name(layer, prefix, number), read),)
            else:
                inner = f"{prefix}{name}_{number}/" if number else f"{prefix}{name}/"
                tensors[name, number] = self._model(layer.model, (*path, name), inner, read)
        return tuple(tensors[ref.layer, ref.call][ref.output] for ref in model.outputs)

    def _layer(self, layer: Layer, path: LayerPath, name: str, inputs: tuple[str, ...]) -> str:
        """Call a layer on tensors; returns the tensor that it makes."""
        shapes = tuple(self.nodes.shapes[read] for read in inputs)
        call = Call(layer, name, inputs, shapes, self.weights.get((*path, layer.name), {}), self.keras_2)
        with self._fitting(layer):
            nodes = read_call(call)
            for node in nodes:
                self.nodes.append(node)
        return nodes[-1].name

    @contextmanager
    def _fitting(self, layer: Layer) -> Iterator[None]:
        """Say which layer it is that does not fit, and whose choice that was."""
        try:
            yield
        except ValueError as error:
            problem = f"the layer {layer.name!r} ({layer.class_name}) does not fit: {error}"
            if self.input_size is None:
                raise ModelError(problem, fix="Check in Keras that the model runs, and save it again.") from error
            size = f"{self.input_size}×{self.input_size}"
            raise UsageError(
                f"it cannot take images of {size}: {problem}", fix="Choose another --input-size."
            ) from error

    def _count(self, model: Model) -> None:
        self.layers_read += len(model.layers) + sum(len(read) for layer in model.layers for read in layer.calls)
        if self.layers_read > LAYER_LIMIT:
            raise ModelError(
                f"its layers and the tensors that they read are more than {LAYER_LIMIT}",
                fix="Build the model from fewer layers.",
            )

    def _name(self, layer: Layer, prefix: str, number: int) -> str:
        """The layer's own name if it is free; a layer of the outermost model always gets it."""
        if not prefix and not number:
            return layer.name
        numbered = (f"{layer.name}_{n}" for n in count(max(number, 1)))
        name = next(name for name in chain((layer.name, prefix + layer.name), numbered) if name not in self.names)
        self.names.add(name)
        return name


def _call_order(model: Model) -> Iterator[CallId]:
    """All layer calls of a model, each after those whose tensors it reads, otherwise in the order of the file."""
    reads = {
        (layer.name, number): [(ref.layer, ref.call) for ref in refs]
        for layer in model.layers
        for number, refs in enumerate(layer.calls)
    }
    position = {call: index for index, call in enumerate(reads)}
    sorter = TopologicalSorter(reads)
    sorter.prepare()
    ready: list[tuple[int, CallId]] = []
    while sorter.is_active():
        for call in sorter.get_ready():
            heappush(ready, (position.get(call, -1), call))
        _, call = heappop(ready)
        if call in reads:
            yield call
        sorter.done(call)
