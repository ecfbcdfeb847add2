"""What is worth keeping in float: found among neighbours, no more than helps, and nothing where nothing helps."""

import re

import pytest
from graphs import tiny_xception
from subjects import probe_of, probes_of, subject_of, with_spoiled_halves, with_spoiled_tensor

from edgex.execute import open_network
from edgex.graph.ir import Graph
from edgex.report import LayerSensitivity
from edgex.sensitivity.ranking import rank_layers
from edgex.sensitivity.simulation import plan_without
from edgex.sensitivity.suggestion import keep_float_pattern, noisiest, worth_keeping


def row(layer: str, ratio: float | None) -> LayerSensitivity:
    return LayerSensitivity(layer=layer, operation="Conv2D", snr_db=ratio)


def suggested(graph: Graph) -> tuple[tuple[str, ...], float, float]:
    """The layers, and the signal-to-noise ratio without and with them in float."""
    subject = subject_of(graph)
    probes = probes_of(subject)
    rows = rank_layers(subject, probes, lambda *_: None)
    before = probes.noise.snr_db(open_network(subject.graph, subject.plan, subject.form))
    layers = worth_keeping(subject, rows, before, probes.noise, None, lambda *_: None)
    after = before
    if layers:
        plan = plan_without(subject.graph, subject.plan, re.compile(keep_float_pattern(layers)))
        after = probes.noise.snr_db(open_network(subject.graph, plan, subject.form))
    assert before is not None
    assert after is not None
    return layers, before, after


def test_a_spoiled_layer_is_suggested_alone() -> None:
    layers, before, after = suggested(with_spoiled_halves())
    assert layers == ("block3_sepconv2",)
    assert after > before + 6


def test_a_spoiled_tensor_takes_its_maker_and_all_its_readers() -> None:
    layers, before, after = suggested(with_spoiled_tensor())
    assert set(layers) == {"block1_conv2", "block2_sepconv1", "conv2d"}
    assert after > before + 6


def test_what_turns_out_not_to_be_needed_is_dropped() -> None:
    """Tried first, as the noisiest by the rows given, which are wrong."""
    subject = subject_of(with_spoiled_halves())
    rows = [row("conv2d", 1.0), row("add", 2.0), row("block3_sepconv2.pointwise", 6.0), row("predictions", 40.0)]
    assert worth_keeping(subject, rows, 6.0, probe_of(subject), None, lambda *_: None) == ("block3_sepconv2",)


def test_nothing_is_suggested_where_all_layers_are_alike() -> None:
    assert suggested(tiny_xception())[0] == ()


def test_halves_of_a_separable_convolution_count_together() -> None:
    rows = [row("a", 10.0), row("b.depthwise", 12.0), row("b.pointwise", 12.0), row("c", None), row("d.x", 30.0)]
    assert noisiest(rows) == ["b", "a", "d.x"]


def test_nothing_is_suggested_where_it_would_leave_nothing() -> None:
    subject = subject_of(tiny_xception())
    probe = probe_of(subject)
    assert worth_keeping(subject, [row("a", 10.0)], 10.0, probe, None, lambda *_: None) == ()
    assert worth_keeping(subject, [row("a", 10.0), row("b", 10.0)], None, probe, None, lambda *_: None) == ()


@pytest.mark.parametrize(
    ("layers", "found", "missed"),
    [
        (["conv2d"], ["conv2d", "conv2d.relu"], ["conv2d_1", "a.conv2d"]),
        (["sep", "a+b"], ["sep.depthwise", "sep.pointwise", "a+b"], ["sep_act", "aab", "sepx.depthwise"]),
    ],
)
def test_the_pattern_finds_the_nodes_of_the_layers(layers: list[str], found: list[str], missed: list[str]) -> None:
    for given in (None, "^other$"):
        pattern = re.compile(keep_float_pattern(layers, given))
        assert all(pattern.search(name) for name in found)
        assert not any(pattern.search(name) for name in missed)
        assert bool(pattern.search("other")) == (given is not None)
