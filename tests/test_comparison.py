"""Two models' predictions, counted."""

import numpy as np
import pytest
from pydantic import ValidationError
from reports import outcome

from edgex.comparison import ClassComparison, Comparison, compare

NAMES = ("ant", "bee", "cat", "dog")


def random_predictions() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of three of four classes, and what two models say."""
    random = np.random.default_rng(5)
    labels = random.integers(0, 3, 300)
    baseline = np.where(random.random(300) < 0.8, labels, random.integers(0, 4, 300))
    other = np.where(random.random(300) < 0.9, baseline, random.integers(0, 4, 300))
    return labels, baseline, other


def test_counts_are_those_of_a_plain_loop() -> None:
    labels, baseline, other = random_predictions()
    found = compare(labels, baseline, other, NAMES)
    rows = list(zip(labels.tolist(), baseline.tolist(), other.tolist(), strict=True))
    assert found.images == 300
    assert found.agreeing == sum(a == b for _, a, b in rows)
    assert found.lost == sum(a == label != b for label, a, b in rows) > 0
    assert found.gained == sum(b == label != a for label, a, b in rows) > 0
    assert found.baseline_hits == sum(a == label for label, a, _ in rows)
    for index, each in enumerate(found.classes):
        assert each.name == NAMES[index]
        assert each.images == sum(label == index for label, _, _ in rows)
        assert each.baseline_hits == sum(a == label == index for label, a, _ in rows)
        assert each.lost == sum(a == label == index != b for label, a, b in rows)
        assert each.gained == sum(b == label == index != a for label, a, b in rows)
    assert found.agreement == found.agreeing / 300


def test_drop_and_chance() -> None:
    found = compare(*outcome(images=1000, hits=900, lost=30, gained=10, classes=4), NAMES)
    assert found.drop.points == pytest.approx(2.0)
    assert found.drop.low < 2 < found.drop.high
    assert found.chance == 0.25
    assert found.paired.discordant == 40


def test_a_class_without_images() -> None:
    labels, baseline, other = random_predictions()
    found = compare(labels, baseline, other, NAMES)
    assert found.classes[3].paired is None
    assert found.classes[3].drop is None
    assert "dog" not in {each.name for each in found.worst_classes()}


def test_worst_classes_come_first() -> None:
    labels, baseline, other = random_predictions()
    drops = [each.drop for each in compare(labels, baseline, other, NAMES).worst_classes()]
    assert drops == sorted(drops, reverse=True)
    assert drops[0] != drops[-1]


def test_itself() -> None:
    labels, baseline, _ = random_predictions()
    found = compare(labels, baseline, baseline, NAMES)
    assert (found.lost, found.gained, found.agreeing) == (0, 0, 300)


OF_CLASS = {"name": "ant", "images": 10, "baseline_hits": 7, "lost": 2, "gained": 1}


@pytest.mark.parametrize(
    "wrong", [{"lost": 8}, {"gained": 4}, {"baseline_hits": 11}, {"images": -1}, {"lost": -1}, {"images": 7}]
)
def test_counts_of_a_class_add_up(wrong: dict[str, int]) -> None:
    ClassComparison.model_validate(OF_CLASS)
    with pytest.raises(ValidationError):
        ClassComparison.model_validate({**OF_CLASS, **wrong})


@pytest.mark.parametrize("wrong", [{"images": 11}, {"agreeing": 8}, {"agreeing": -1}, {"images": 0}, {"classes": []}])
def test_counts_of_a_comparison_add_up(wrong: dict[str, object]) -> None:
    good = {"images": 10, "agreeing": 7, "classes": [OF_CLASS]}
    Comparison.model_validate(good)
    with pytest.raises(ValidationError):
        Comparison.model_validate({**good, **wrong})
