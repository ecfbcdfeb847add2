"""What a graph computes in the runtime, against numpy."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from graphs import tiny_xception
from onnx_support import min_max_plan, run
from reference import reference, relative_error

from edgex.execute import channel_extremes, logits_name, open_network, tensor_values
from edgex.graph.ir import Conv2D, Graph, Input, Node, Relu, Reshape
from edgex.write.onnx import OnnxForm, onnx_model

GRAPH = tiny_xception()
IMAGES = np.random.default_rng(0).uniform(-1, 1, (5, 32, 32, 3)).astype(np.float32)
EXPECTED = reference(GRAPH, IMAGES)
EVERY = [node.name for node in GRAPH.nodes]
TOLERANCE = 1e-5


def test_every_tensor_is_what_numpy_computes() -> None:
    values = dict(zip(EVERY, tensor_values(GRAPH, EVERY)(IMAGES), strict=True))
    assert {name: relative_error(values[name], EXPECTED[name]) < TOLERANCE for name in EVERY} == dict.fromkeys(
        EVERY, True
    )


def test_another_weight_shows_in_all_that_follows() -> None:
    node = GRAPH["block3_sepconv1.depthwise"]
    faulty = GRAPH.rewrite({node.name: [node.with_params(kernel=1.01 * node.params["kernel"])]})
    values = dict(zip(EVERY, tensor_values(faulty, EVERY)(IMAGES), strict=True))
    wrong = [name for name in EVERY if relative_error(values[name], EXPECTED[name]) > TOLERANCE]
    assert wrong == EVERY[EVERY.index(node.name) :]


def test_tensors_come_in_the_order_asked_for() -> None:
    logits, image, total = tensor_values(GRAPH, ["predictions", "input", "add"])(IMAGES)
    assert logits.shape == (5, 10)
    assert image is IMAGES
    assert relative_error(total, EXPECTED["add"]) < TOLERANCE


def test_extremes_are_those_of_each_channel() -> None:
    found = channel_extremes(GRAPH, EVERY)(IMAGES)
    for name, (low, high) in zip(EVERY, found, strict=True):
        axes = tuple(range(EXPECTED[name].ndim - 1))
        assert low.shape == high.shape == EXPECTED[name].shape[-1:]
        assert low == pytest.approx(EXPECTED[name].min(axes), rel=1e-4, abs=1e-5), name
        assert high == pytest.approx(EXPECTED[name].max(axes), rel=1e-4, abs=1e-5), name
    assert found[EVERY.index("add")].low.min() < found[EVERY.index("add")].low.max(), "channels differ"


def test_extremes_of_images_that_are_outputs_and_of_rows() -> None:
    nodes = (
        Node("image", Input((4, 6, 3))),
        Node("conv", Conv2D(), ("image",), {"kernel": np.ones((1, 1, 3, 2))}),
        Node("rows", Reshape((8, 6)), ("conv",)),
        Node("relu", Relu(), ("rows",)),
    )
    graph = Graph("test", nodes, ("conv", "relu"))
    images = IMAGES[:, :4, :6]
    expected = reference(graph, images)
    for name, (low, high) in zip(("conv", "rows"), channel_extremes(graph, ["conv", "rows"])(images), strict=True):
        axes = tuple(range(expected[name].ndim - 1))
        assert low == pytest.approx(expected[name].min(axes), rel=1e-5)
        assert high == pytest.approx(expected[name].max(axes), rel=1e-5)


def test_infinities_are_seen() -> None:
    images = IMAGES[:1].copy()
    images[0, 3, 4, 1] = np.inf
    (extremes,) = channel_extremes(GRAPH, ["input"])(images)
    assert np.isinf(extremes.high).tolist() == [False, True, False]


def test_threads_get_the_same_bits() -> None:
    values = tensor_values(GRAPH, ["predictions"])
    alone = [values(image[np.newaxis])[0] for image in IMAGES]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: values(image[np.newaxis])[0], IMAGES))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))
    assert not np.array_equal(alone[0], alone[1])


def test_logits_are_what_the_softmax_reads() -> None:
    assert logits_name(GRAPH) == "predictions"
    assert logits_name(replace(GRAPH, nodes=GRAPH.nodes[:-1], outputs=("predictions",))) == "predictions"


def test_a_network_without_a_plan_is_the_float_one() -> None:
    logits = open_network(GRAPH, None, OnnxForm())(IMAGES)
    assert relative_error(logits, EXPECTED["predictions"]) < TOLERANCE


def test_a_network_with_a_plan_is_the_artifact() -> None:
    plan = min_max_plan(GRAPH, IMAGES, "symmetric")
    form = OnnxForm(activation_type="int8", bias="float")
    model = onnx_model(replace(GRAPH, outputs=("predictions",)), plan, form)
    artifact = run(model, IMAGES, without=["WeightBiasQuantization"])["predictions"]
    found = open_network(GRAPH, plan, form)(IMAGES)
    assert np.array_equal(found, artifact)
    assert relative_error(found, EXPECTED["predictions"]) > 100 * TOLERANCE, "in float it would not differ"
