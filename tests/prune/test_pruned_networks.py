"""Whole networks: what hangs together in Xception, and half of the work taken out of it and of others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pruning_cases import all_macs, demo_xception, some_units, unread
from reference import relative_error

from edgex.demo.train import Widths
from edgex.execute import logits_name, tensor_values
from edgex.graph.ir import Array, Graph
from edgex.graph.passes import prepare
from edgex.graph.passes.simplify import drop_identities, split_separable
from edgex.graph.read_keras import read_keras
from edgex.prune.allotment import choose
from edgex.prune.channels import couple, remove
from edgex.prune.importance import weight_norm

SIZES = {
    "DenseNet121": 64,
    "EfficientNetB0": 64,
    "InceptionV3": 75,
    "MobileNetV2": 64,
    "ResNet50V2": 64,
    "Xception": 71,
}
XCEPTION = Widths(stem=(32, 64), entry=(128, 256, 728), exit=(1024, 1536, 2048))


def from_keras(name: str, folder: Path) -> Graph:
    """With random weights, in pruning form; its batch norms make something of zeros."""
    import keras

    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model: Any = getattr(keras.applications, name)(
        weights=None, input_shape=(SIZES[name], SIZES[name], 3), classes=10, classifier_activation=None
    )
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
            layer.beta.assign(random.normal(0.1, 0.3, layer.beta.shape))
    # Without the statistics of some images, those fade from layer to layer until none shows in the logits
    model(random.uniform(-1, 1, (8, *model.input_shape[1:])), training=True)
    path = folder / "model.keras"
    model.save(path)
    graph = split_separable(drop_identities(read_keras(path)).graph).graph
    path.unlink()
    return graph


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.slow) for name in SIZES])
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return from_keras(request.param, tmp_path_factory.mktemp(request.param))


def xception_widths(widths: Widths) -> dict[frozenset[str], int]:
    """Producers → units: what blocks of Xception share, with a residual stream from block 4 through to block 12."""

    def sepconv(block: int, part: int) -> str:
        return f"block{block}_sepconv{part}.pointwise"

    inner = {sepconv(block, 1): channels for block, channels in zip((2, 3, 4), widths.entry, strict=True)}
    inner |= {sepconv(block, part): widths.middle for block in range(5, 13) for part in (1, 2)}
    inner |= {"block1_conv1": widths.stem[0], "block1_conv2": widths.stem[1], sepconv(13, 1): widths.middle}
    inner |= {sepconv(14, 1): widths.exit[1], sepconv(14, 2): widths.exit[2]}
    streams = {
        frozenset({"conv2d", sepconv(2, 2)}): widths.entry[0],
        frozenset({"conv2d_1", sepconv(3, 2)}): widths.entry[1],
        frozenset({"conv2d_2", sepconv(4, 2), *(sepconv(block, 3) for block in range(5, 13))}): widths.middle,
        frozenset({"conv2d_3", sepconv(13, 2)}): widths.exit[0],
    }
    return streams | {frozenset({name}): channels for name, channels in inner.items()}


def check_xception(graph: Graph, widths: Widths) -> None:
    found = couple(graph).widths
    assert {frozenset(width.producers): len(width.units) for width in found} == xception_widths(widths)
    order = [node.name for node in graph.nodes]
    assert all(list(width.producers) == sorted(width.producers, key=order.index) for width in found)
    assert [width.name for width in found] == sorted((width.producers[0] for width in found), key=order.index)


def check_half(graph: Graph, multiple: int) -> None:
    """Half of the work is gone and hardly more, in whole multiples."""
    coupling = couple(graph)
    gone = choose(graph, coupling, weight_norm(graph, coupling), 0.5, multiple)
    pruned = remove(graph, coupling, gone)
    assert 0.5 <= 1 - all_macs(pruned) / all_macs(graph) < 0.53
    assert pruned.shapes[pruned.outputs[0]] == graph.shapes[graph.outputs[0]]
    for width in coupling.widths:
        left = len(width.units) - int(np.isin(width.units, gone).sum())
        assert left >= min(multiple, len(width.units))
        assert left % multiple == 0 or left == len(width.units)


def test_the_demo() -> None:
    check_xception(demo_xception(), Widths())
    check_half(demo_xception(), 4)


def test_half_of_a_network(network: Graph) -> None:
    if network.name == "xception":
        check_xception(network, XCEPTION)
    check_half(network, 8)


def test_a_network_computes_what_it_did(network: Graph) -> None:
    coupling = couple(network)
    gone = some_units(coupling)
    images = np.random.default_rng(1).uniform(-1, 1, (2, *network.shapes[network.inputs[0].name])).astype(np.float32)

    def logits(graph: Graph) -> Array:
        prepared = prepare(graph)
        return tensor_values(prepared, [logits_name(prepared)])(images)[0]

    expected = logits(unread(network, coupling, gone))
    assert relative_error(expected[:1], expected[1:]) > 1e-3, "the logits hardly depend on the image"
    assert relative_error(logits(remove(network, coupling, gone)), expected) < 1e-4
    other = remove(network, coupling, some_units(coupling, seed=1))
    assert relative_error(logits(other), expected) > 1e-2
