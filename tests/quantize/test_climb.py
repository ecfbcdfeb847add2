"""Climbing from one way of quantizing to the next: what each costs, where it ends, and what is kept."""

import re
from dataclasses import replace

import numpy as np
import pytest
from graphs import tiny_xception
from onnx_support import named, run
from reference import reference
from segmenters import colour_segmenter, without_softmax

from edgex.errors import ModelError
from edgex.graph.ir import Array, Graph, Node, Reshape
from edgex.plan import QuantizationPlan
from edgex.quantize.climb import LADDER, ClimbResult, Rung, climb
from edgex.quantize.ptq import PtqOptions, quantize_ptq
from edgex.write.onnx import OnnxForm, onnx_model

GRAPH = tiny_xception(seed=1)
IMAGES = np.random.default_rng(0).uniform(-1, 1, (24, 32, 32, 3)).astype(np.float32)
ODD_IMAGES = IMAGES.copy()
ODD_IMAGES[20] *= 200
FORM = OnnxForm()
OPTIONS = PtqOptions("asymmetric", workers=2)
FOUR_BITS = replace(OPTIONS, weight_bits=4)
NEVER = -101.0
"""Points that no rung can keep within."""


def classes(graph: Graph, images: Array, plan: QuantizationPlan | None = None) -> list[int]:
    logits = replace(graph, outputs=("predictions",))
    values = reference(logits, images) if plan is None else run(onnx_model(logits, plan, FORM), images)
    found: list[int] = values["predictions"].argmax(1).tolist()
    return found


LABELS = {name: label for (name, _), label in zip(named(IMAGES), classes(GRAPH, IMAGES), strict=True)}
"""What the float network says, but for two images."""
LABELS |= {name: (LABELS[name] + 1) % 10 for name in ("image 3", "image 4")}


def climbed(
    images: Array = IMAGES, options: PtqOptions = OPTIONS, budget: float = NEVER, *, labelled: bool = True
) -> ClimbResult:
    return climb(GRAPH, named(images), LABELS if labelled else None, options, FORM, budget)


def test_the_first_rung_within_the_budget_ends_it() -> None:
    result = climbed(budget=100)
    assert [rung.name for rung in result.rungs] == ["minmax"]
    assert result.ptq.plan.calibration["rung"] == "minmax"
    plain = quantize_ptq(GRAPH, named(IMAGES), replace(OPTIONS, method="minmax", equalize=False))
    assert result.ptq.plan.ranges == plain.plan.ranges


def test_it_climbs_past_what_an_odd_image_spoils() -> None:
    result = climbed(ODD_IMAGES, budget=10)
    minmax, average = result.rungs
    assert minmax.points > 20
    assert average.points <= 10
    assert result.ptq.plan.calibration["rung"] == average.name == "average"
    assert average.gain == pytest.approx(minmax.points - average.points)
    assert average.over == "minmax"
    assert [odd.image for odd in result.ptq.odd_images] == ["image 20"]


@pytest.fixture(scope="module")
def whole_climb() -> ClimbResult:
    return climbed(ODD_IMAGES, FOUR_BITS)


def test_the_best_rung_is_kept_where_none_is_within_the_budget(whole_climb: ClimbResult) -> None:
    rungs = whole_climb.rungs
    assert [rung.name for rung in rungs] == list(LADDER)
    best = min(rungs, key=lambda rung: rung.cost)
    record = whole_climb.ptq.plan.calibration
    assert record["rung"] == best.name == "learned rounding"
    assert record["method"] == best.method
    assert record["rounding"] == "learned"
    assert len(record["biases_corrected"]) == len(record["rounded"]) > 0
    assert whole_climb.ptq.plan.weight_bits == 4


def test_each_rung_is_compared_with_the_best_before(whole_climb: ClimbResult) -> None:
    rungs = whole_climb.rungs
    for place, rung in enumerate(rungs[1:], start=1):
        best = min(rungs[:place], key=lambda each: each.cost)
        assert (rung.over, rung.gain) == (best.name, best.points - rung.points)
    assert rungs[-1].method == best.method, "learned rounding takes the best ranges"
    assert rungs[-1].snr_db is not None
    assert best.snr_db is not None
    assert rungs[-1].snr_db > best.snr_db + 1


def test_learned_rounding_takes_what_was_best_before() -> None:
    best = replace(OPTIONS, method="mse", cross_layer=True)
    assert LADDER["learned rounding"](OPTIONS, best) == replace(best, rounding="learned", correct_bias=True)


def test_the_plan_keeps_the_rungs_as_data(whole_climb: ClimbResult) -> None:
    record = QuantizationPlan.from_json(whole_climb.ptq.plan.to_json()).calibration["rungs"]
    assert [Rung(**rung) for rung in record] == list(whole_climb.rungs)


@pytest.mark.parametrize("labelled", [False, True])
def test_points_are_those_of_the_artifact(labelled: bool) -> None:
    result = climbed(ODD_IMAGES, budget=100, labelled=labelled)
    (rung,) = result.rungs
    before, after = classes(GRAPH, ODD_IMAGES), classes(result.ptq.graph, ODD_IMAGES, result.ptq.plan)
    changed = sum(one != other for one, other in zip(before, after, strict=True))
    lost = sum(one == label for one, label in zip(before, LABELS.values(), strict=True))
    lost -= sum(one == label for one, label in zip(after, LABELS.values(), strict=True))
    assert rung.images == 24
    assert rung.changed == changed > lost > 0
    assert rung.points == pytest.approx(100 * (lost if labelled else changed) / 24)


def test_of_equal_losses_the_clearest_logits_win() -> None:
    result = climbed()
    fewest = min(rung.points for rung in result.rungs)
    equal = {rung.name: rung.snr_db or 0 for rung in result.rungs if rung.points == fewest}
    assert len(equal) > 1
    assert equal[result.ptq.plan.calibration["rung"]] == max(equal.values())


def test_rungs_choose_for_themselves_what_they_differ_in() -> None:
    others = replace(OPTIONS, method="entropy", equalize=False, rounding="learned", cross_layer=True)
    assert climbed(options=others, budget=100).rungs == climbed(budget=100).rungs


def test_integer_ends_are_judged_as_well() -> None:
    form = OnnxForm(activation_type="int8", bias="float", integer_io=True)
    options = replace(OPTIONS, scheme="symmetric", integer_io=True)
    (rung,) = climb(GRAPH, named(IMAGES), LABELS, options, form, 100).rungs
    assert rung.snr_db is not None
    assert rung.snr_db > 15


def test_progress_says_which_rung() -> None:
    done: list[tuple[str, int, int]] = []
    climb(GRAPH, named(ODD_IMAGES), LABELS, OPTIONS, FORM, 10, lambda *call: done.append(call))
    whats = list(dict.fromkeys(what for what, _, _ in done))
    assert whats == [
        "float: compare",
        *(f"{rung}: {what}" for rung in ("minmax", "average") for what in ("calibrate", "compare")),
    ]
    assert all((what, 24, 24) in done for what in whats)


RUNG = Rung("mse", "mse", images=500, changed=5, points=0.4, labelled=True, snr_db=21.34, gain=0.8, over="average")


@pytest.mark.parametrize(
    ("rung", "sentence"),
    [
        (RUNG, "mse: 0.4 points lost, 0.8 fewer than average; 21.3 dB."),
        (replace(RUNG, gain=-0.2), "mse: 0.4 points lost, 0.2 more than average; 21.3 dB."),
        (replace(RUNG, gain=0.01), "mse: 0.4 points lost, as many as average; 21.3 dB."),
        (replace(RUNG, points=-0.6, gain=None, over=None), "mse: 0.6 points won; 21.3 dB."),
        (replace(RUNG, labelled=False, snr_db=None), "mse: at most 0.4 points lost, 0.8 fewer than average; no noise."),
    ],
)
def test_sentences(rung: Rung, sentence: str) -> None:
    assert str(rung) == sentence


@pytest.mark.parametrize("size", [24, 40])
def test_all_pixels_of_a_segmenter_are_compared(size: int) -> None:
    images = np.random.default_rng(1).uniform(-1, 1, (6, size, size, 3)).astype(np.float32)
    graph = colour_segmenter(size)
    (rung,) = climb(graph, named(images), None, OPTIONS, FORM, 100).rungs
    plain = quantize_ptq(graph, named(images), replace(OPTIONS, method="minmax", equalize=False))
    logits = without_softmax(plain.graph)
    before, after = (
        np.concatenate(list(run(onnx_model(*made), images).values())).argmax(-1)
        for made in ((without_softmax(graph),), (logits, plain.plan, FORM))
    )
    assert (rung.images, rung.labelled) == (6, False)
    assert rung.changed == (before != after).sum() > 0
    assert rung.points == pytest.approx(100 * (before != after).mean())
    assert rung.snr_db is not None


@pytest.mark.parametrize("shape", [(49, 24), (7 * 7 * 24, 1, 1)])
def test_what_does_not_score_classes_is_refused(shape: tuple[int, ...]) -> None:
    last = Node("last", Reshape(shape), ("add",))
    images = replace(GRAPH, nodes=(*GRAPH.nodes, last), outputs=("last",))
    with pytest.raises(ModelError, match=re.escape(f"has the shape {shape}")):
        climb(images, named(IMAGES), None, OPTIONS, FORM)


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="no calibration images"):
        climb(GRAPH, [], None, OPTIONS, FORM)
