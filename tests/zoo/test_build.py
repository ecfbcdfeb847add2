"""What the zoo is told: names, sizes, options."""

from typing import Any

import numpy as np
import pytest

from edgex.errors import UsageError
from edgex.graph.ir import Softmax
from edgex.zoo import MODELS, Option, build

TINY: dict[str, Any] = {"width": 0.05, "depth": 0.1}
OURS = [name for name in MODELS if name != "inception_v3"]


def test_the_models() -> None:
    assert [*MODELS] == ["xception", "inception_v3", "aligned_xception", "deeplab_v3plus"]
    assert [name for name, model in MODELS.items() if model.task == "segment"] == ["deeplab_v3plus"]


@pytest.mark.parametrize("name", OURS)
def test_every_option_has_a_default_that_it_takes(name: str) -> None:
    for option_name, option in MODELS[name].options.items():
        assert option.read(option_name, str(option.default).lower()) == option.default
        assert option.takes
        assert option.summary


@pytest.mark.parametrize("name", OURS)
def test_defaults_are_those_of_the_architecture(name: str) -> None:
    model = MODELS[name]
    graph = build(name)
    assert graph.name == name
    assert graph.shapes["input_layer"] == (model.native_size, model.native_size, 3)
    assert graph.shapes[graph.outputs[0]][-1] == model.classes
    assert isinstance(graph[graph.outputs[0]].op, Softmax)
    assert len(graph.shapes[graph.outputs[0]]) == (3 if model.task == "segment" else 1)


@pytest.mark.parametrize("name", OURS)
def test_a_seed_gives_the_same_bits(name: str) -> None:
    first, same, other = (build(name, **TINY, classes=3, input_size=32, seed=seed) for seed in (1, 1, 2))
    for node in first.nodes:
        for key, array in node.params.items():
            np.testing.assert_array_equal(array, same[node.name].params[key])
            drawn = "kernel" in key or key in ("depthwise", "pointwise")
            assert (array != other[node.name].params[key]).any() == drawn, node.name


@pytest.mark.parametrize("name", OURS)
def test_the_least_size_is_the_least(name: str) -> None:
    least = MODELS[name].least_size
    graph = build(name, **TINY, classes=3, input_size=least)
    assert all(min(shape) > 0 for shape in graph.shapes.values())
    with pytest.raises(UsageError, match=f"nothing is left inside {name}") as refusal:
        build(name, **TINY, input_size=least - 1)
    assert f"{least}×{least}" in refusal.value.fix
    with pytest.raises(UsageError, match="nothing is left"):
        build(name, **TINY, input_size=(least + 5, least - 1))
    if least > 1:
        shapes = MODELS[name].builder((least - 1, least), 3, {"width": 0.05, "depth": 0.1})
        with pytest.raises(ValueError, match="too small"):
            shapes.shapes  # noqa: B018  computed when asked for


def test_images_need_not_be_square() -> None:
    graph = build("xception", **TINY, classes=3, input_size=(40, 70))
    assert graph.shapes["input_layer"] == (40, 70, 3)


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="'resnet'") as refusal:
        build("resnet")
    assert all(name in refusal.value.fix for name in MODELS)


def test_one_class_is_none() -> None:
    with pytest.raises(UsageError, match="1 classes"):
        build("xception", classes=1)


@pytest.mark.parametrize(
    ("name", "options", "takes"),
    [
        ("xception", {"output_stride": 16}, "width (multiplies all channels), depth (multiplies the blocks of "),
        ("inception_v3", {"width": 0.5}, "none"),
        ("xception", {"width": 0}, "positive number"),
        ("xception", {"width": float("nan")}, "positive number"),
        ("xception", {"width": True}, "positive number"),
        ("xception", {"depth": "deep"}, "positive number"),
        ("xception", {"residual": 1}, "true or false"),
        ("xception", {"intermediate": "gelu"}, "one of none, relu, elu"),
        ("xception", {"segments": 0}, "a whole number, or all"),
        ("xception", {"segments": 1.5}, "a whole number, or all"),
        ("xception", {"segments": "many"}, "a whole number, or all"),
        ("aligned_xception", {"output_stride": 4}, "one of 32, 16, 8"),
        ("deeplab_v3plus", {"output_stride": 16.0}, "one of 32, 16, 8"),
    ],
)
def test_wrong_options_are_refused(name: str, options: dict[str, Any], takes: str) -> None:
    with pytest.raises(UsageError, match=next(iter(options))) as refusal:
        build(name, **options)
    assert takes in refusal.value.fix


def test_options_as_texts() -> None:
    xception = MODELS["xception"].options
    texts = {"width": "0.5", "residual": "false", "segments": "3", "order": "pointwise-first"}
    values = {name: xception[name].read(name, text) for name, text in texts.items()}
    assert values == {"width": 0.5, "residual": False, "segments": 3, "order": "pointwise-first"}
    assert xception["segments"].read("segments", "all") == "all"
    stride: Option = MODELS["deeplab_v3plus"].options["output_stride"]
    assert stride.read("output_stride", "8") == 8
    for option, text in ((stride, "4"), (xception["width"], "wide"), (xception["residual"], "no")):
        with pytest.raises(UsageError, match=f"'{text}'|{text}"):
            option.read("option", text)
