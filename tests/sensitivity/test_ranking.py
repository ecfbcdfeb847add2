"""Layers ranked by what their own quantization costs."""

import re

from graphs import tiny_xception
from subjects import probes_of, subject_of, with_spoiled_halves, with_spoiled_tensor

from edgex.sensitivity.ranking import rank_layers
from edgex.sensitivity.subject import Subject


def ranked(subject: Subject, workers: int = 2) -> list[str]:
    return [row.layer for row in rank_layers(subject, probes_of(subject, workers), lambda *_: None)]


def test_every_layer_that_computes_has_a_row() -> None:
    subject = subject_of(tiny_xception())
    done: list[tuple[int, int]] = []
    rows = rank_layers(subject, probes_of(subject), lambda *counts: done.append(counts))
    kinds = {row.layer: row.operation for row in rows}
    assert len(rows) == len(kinds) == 16
    assert kinds["block2_sepconv1.depthwise"] == "DepthwiseConv2D"
    assert kinds["block2_sepconv1.pointwise"] == kinds["conv2d"] == "Conv2D"
    assert (kinds["predictions"], kinds["add_1"]) == ("Dense", "Add")
    assert done == [(number, 16) for number in range(1, 17)]
    ratios = [row.snr_db for row in rows]
    assert ratios == sorted(ratios, key=lambda ratio: ratio or 0)
    assert all(row.images == 12 for row in rows)


def test_layers_in_float_have_none() -> None:
    subject = subject_of(tiny_xception(), keep_float=re.compile("^block3_|^predictions"))
    assert [layer for layer in ranked(subject) if layer.startswith(("block3_", "predictions"))] == []


def test_a_spoiled_layer_is_worst() -> None:
    assert ranked(subject_of(with_spoiled_halves()))[0] == "block3_sepconv2.pointwise"


def test_equalization_heals_it() -> None:
    """So that it is the plan that is ranked, and not the weights."""
    healed = subject_of(with_spoiled_halves(), equalize=True)
    assert "block3_sepconv2.pointwise" not in ranked(healed)[:3]


def test_a_spoiled_tensor_makes_its_maker_and_its_readers_worst() -> None:
    assert set(ranked(subject_of(with_spoiled_tensor()))[:3]) == {
        "block1_conv2",
        "block2_sepconv1.depthwise",
        "conv2d",
    }


def test_rows_do_not_depend_on_the_threads() -> None:
    subject = subject_of(tiny_xception())
    rows = [rank_layers(subject, probes_of(subject, workers), lambda *_: None) for workers in (1, 3, 3)]
    assert rows[0] == rows[1] == rows[2]
