"""Writing a graph as a Keras 3 ``.keras`` file, without Keras.

The file holds a Functional model of Keras' own layers. Where the graph was read from a model, they have the names that
they had there: separable convolutions are put together again, and activations go back into the layers that they were
built into. What does nothing at inference is left out.

The same graph gives the same bytes.
"""

import json
import re
import zipfile
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from itertools import chain, count
from typing import Any

from edgex.errors import ModelError
from edgex.graph.ir import (
    Activation,
    AveragePool2D,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Elu,
    Graph,
    Input,
    LeakyRelu,
    MaxPool2D,
    Node,
    Pad,
    Relu,
    SeparableConv2D,
    Softmax,
)
from edgex.graph.keras_activations import activation_suffix
from edgex.graph.keras_archive import CONFIG, METADATA, RECORD, WEIGHTS
from edgex.graph.keras_layers import LAYERS, MERGING
from edgex.graph.passes.finite import check_finite
from edgex.graph.passes.simplify import drop_identities, merge_separable
from edgex.write.keras_layers import Config, layer_of

FORMAT_VERSION = "3.4.1"
"""The oldest Keras that opens what is written here."""

WEIGHT_GROUPS = {
    "BatchNormalization": "batch_normalization",
    "Conv2D": "conv2d",
    "Dense": "dense",
    "DepthwiseConv2D": "depthwise_conv2d",
    "SeparableConv2D": "separable_conv2d",
}
"""Where Keras keeps the weights of each class that has any; see :mod:`edgex.graph.keras_weights`."""

FOREIGN_CHARACTER = re.compile(r"[^A-Za-z0-9_.\\>-]")
FIRST_CHARACTER = re.compile(r"[A-Za-z0-9.]")
"""Names are made of what TensorFlow takes for a scope, less the slash, which Keras refuses."""

UNIX = 3
"""The system that a zip says it was made on; zipfile would name this one."""


def keras_file(graph: Graph, record: Mapping[str, Any] | None = None) -> bytes:
    """The content of a ``.keras`` file whose model computes what a graph does.

    Args:
        graph: as read, or after any passes.
        record: plain JSON about how it was made; :func:`edgex.graph.keras_record.read_record` gives it back.

    Raises:
        ModelError: a pool is padded by numbers of pixels, or a number is not finite; names it.
    """
    check_finite(graph)
    for run in (drop_identities, merge_separable):
        graph = run(graph).graph
    graph = _with_padding_layers(graph)
    activations = _built_in_activations(graph)
    renamed = {activation.name: name for name, activation in activations.items()}
    graph = graph.rewrite(dict.fromkeys(renamed, ()), renamed)

    nodes = _in_keras_order(graph)
    names = _layer_names([node.name for node in nodes])
    layers = [_layer(graph, node, activations.get(node.name), names) for node in nodes]
    members = {
        METADATA: _json({"keras_version": FORMAT_VERSION}),
        CONFIG: _json(_model(graph, layers, names)),
        WEIGHTS: _weights(nodes, layers),
    }
    if record is not None:
        members[RECORD] = _json(record)
    return _archive(members)


def _with_padding_layers(graph: Graph) -> Graph:
    """The graph with zeros around images put there by nodes of their own, since Keras has no padding in pixels."""
    names = {node.name for node in graph.nodes}
    replacements: dict[str, list[Node]] = {}
    for node in graph.nodes:
        match node.op:
            case MaxPool2D(padding=tuple()) | AveragePool2D(padding=tuple()):
                raise ModelError(
                    f"{node.name}: Keras has no pool with padding in pixels, and zeros are not the same.",
                    fix="Build it with the padding 'same' or 'valid'.",
                )
            case (
                Conv2D(padding=tuple() as padding)
                | DepthwiseConv2D(padding=tuple() as padding)
                | SeparableConv2D(padding=tuple() as padding)
            ) as op:
                pad = Node(_free(f"{node.name}.pad", names), Pad(padding), node.inputs)
                replacements[node.name] = [pad, replace(node, op=replace(op, padding="valid"), inputs=(pad.name,))]
    return graph.rewrite(replacements)


def _built_in_activations(graph: Graph) -> dict[str, Node]:
    """Layer → the activation that a reader took out of it: ``predictions`` → ``predictions.softmax``."""
    found: dict[str, Node] = {}
    for node in graph.nodes:
        reader = graph.sole_consumer(node.name)
        if (
            reader is not None
            and isinstance(node.op, Conv2D | DepthwiseConv2D | SeparableConv2D | Dense)
            and isinstance(reader.op, Relu | LeakyRelu | Elu | Activation | Softmax)
            and reader.name == f"{node.name}.{activation_suffix(reader.op)}"
        ):
            found[node.name] = reader
    return found


def _in_keras_order(graph: Graph) -> list[Node]:
    """All inputs, and the nodes that outputs depend on, in the order that Keras gives the layers of a model.

    It sorts them by their longest way to an output, the farthest first, and those equally far as a walk from the
    outputs, depth first, meets them (``map_graph`` in ``keras/src/ops/function.py``). It does so again when it loads a
    model, and finds weights by it.
    """
    met: dict[str, int] = {}
    pending = [*reversed(graph.outputs)]
    while pending:
        name = pending.pop()
        if name not in met:
            met[name] = len(met)
            pending += reversed(graph[name].inputs)
    distance = dict.fromkeys(met, 0)
    for node in reversed(graph.nodes):
        if node.name not in met:
            continue
        for name in node.inputs:
            distance[name] = max(distance[name], distance[node.name] + 1)
    nodes = [node for node in graph.nodes if node.name in met or isinstance(node.op, Input)]
    return sorted(nodes, key=lambda node: (-distance.get(node.name, 0), met.get(node.name, -1)))


def _layer_names(tensors: Sequence[str]) -> dict[str, str]:
    """Tensor → name of the layer that makes it: the same wherever it can be."""
    names = {name: name for name in tensors if _legal(name) == name}
    for name in tensors:
        if name not in names:
            names[name] = _free(_legal(name), names.values())
    return names


def _legal(name: str) -> str:
    legal = FOREIGN_CHARACTER.sub("_", name)
    return legal if FIRST_CHARACTER.match(legal) else f"layer{legal}"


def _free(name: str, taken: Container[str]) -> str:
    """The name, with a number if it is taken."""
    numbered = (f"{name}_{number}" for number in count(1))
    return next(candidate for candidate in chain((name,), numbered) if candidate not in taken)


def _layer(graph: Graph, node: Node, activation: Node | None, names: Mapping[str, str]) -> Config:
    class_name, config = layer_of(node, activation.op if activation else None)
    tensors = [
        {
            "class_name": "__keras_tensor__",
            "config": {
                "shape": (None, *graph.shapes[name]),
                "dtype": "float32",
                "keras_history": (names[name], 0, 0),
            },
        }
        for name in node.inputs
    ]
    arguments: list[Any] = [tensors] if class_name in MERGING else tensors
    name = names[node.name]
    return {
        "module": "keras.layers",
        "class_name": class_name,
        "config": {"name": name, "dtype": "float32", **config},
        "registered_name": None,
        "name": name,
        "inbound_nodes": [{"args": arguments, "kwargs": {}}] if tensors else [],
    }


def _model(graph: Graph, layers: Sequence[Config], names: Mapping[str, str]) -> Config:
    inputs = [(names[node.name], 0, 0) for node in graph.inputs]
    outputs = [(names[name], 0, 0) for name in graph.outputs]
    config = {
        "name": _legal(graph.name),
        "layers": layers,
        "input_layers": inputs if len(inputs) > 1 else inputs[0],
        "output_layers": outputs if len(outputs) > 1 else outputs[0],
    }
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": config,
        "registered_name": "Functional",
    }


def _weights(nodes: Sequence[Node], layers: Sequence[Config]) -> bytes:
    import h5py

    seen: Counter[str] = Counter()
    buffer = BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_group("vars")  # of the model itself; Keras up to 3.4 insists on it
        for node, layer in zip(nodes, layers, strict=True):
            class_name = layer["class_name"]
            if class_name not in WEIGHT_GROUPS:
                continue
            group = f"layers/{WEIGHT_GROUPS[class_name]}" + (f"_{seen[class_name]}" if seen[class_name] else "")
            seen[class_name] += 1
            for index, variable in enumerate(LAYERS[class_name].variables(layer["config"])):
                file.create_dataset(f"{group}/vars/{index}", data=node.params[variable], track_times=False)
    return buffer.getvalue()


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, allow_nan=False, sort_keys=True).encode()


def _archive(members: Mapping[str, bytes]) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name)  # dated 1980
            entry.create_system = UNIX
            archive.writestr(entry, content)
    return buffer.getvalue()
