"""Batches: the same from any step on, whatever cannot be read; moved a little; and images held out."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgex.dataset import Dataset, open_dataset
from edgex.errors import DataError, UsageError
from edgex.preprocess import Preprocessing
from edgex.train.batches import HELD_OUT, MOST_HELD_OUT, Augment, Batch, Batches, drawn_move, hold_out

SIZE = 20
PREPROCESSING = Preprocessing(size=(SIZE, SIZE), scale="none")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return open_dataset("digits", role="training").sample(40)


def batches(dataset: Dataset, augment: Augment = "shift", **options: int) -> Batches:
    return Batches(dataset, PREPROCESSING, options.pop("size", 6), augment, **options)


def same(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels)
        for a, b in zip(one, other, strict=True)
    )


# Order


def test_any_step_gives_the_same_batch(digits: Dataset) -> None:
    whole = list(batches(digits).from_step(0, 15))
    assert len(whole) == 15
    assert batches(digits).per_epoch == 6
    for step in (1, 6, 11):
        assert same(list(batches(digits, workers=1).from_step(step, 15)), whole[step:])


def test_another_seed_and_another_epoch_give_other_batches(digits: Dataset) -> None:
    first, *_ = whole = list(batches(digits, "none").from_step(0, 7))
    assert not same([first], list(batches(digits, "none", seed=1).from_step(0, 1)))
    assert not same([first], whole[6:])


def test_an_epoch_has_each_image_once(digits: Dataset) -> None:
    drawn = batches(digits, "none", size=5)
    seen = np.concatenate([batch.images for batch in drawn.from_step(0, 8)])
    assert Counter(image.tobytes() for image in seen) == Counter(
        PREPROCESSING.apply(digits[index]).tobytes() for index in range(len(digits))
    )


def test_labels_go_with_their_images(digits: Dataset) -> None:
    label_of = {PREPROCESSING.apply(digits[index]).tobytes(): digits.items[index].label for index in range(40)}
    for images, labels in batches(digits, "none").from_step(0, 6):
        assert labels.dtype == np.int64
        assert [label_of[image.tobytes()] for image in images] == labels.tolist()


def test_images_without_labels_have_zeros(digits: Dataset) -> None:
    bare = replace(digits, items=tuple(replace(item, label=None) for item in digits.items))
    ((_, labels),) = batches(bare).from_step(0, 1)
    assert labels.tolist() == [0] * 6


def test_in_order_nothing_is_left_over_or_moved(digits: Dataset) -> None:
    in_order = list(batches(digits, "flip"))
    assert [len(batch.images) for batch in in_order] == [6] * 6 + [4]
    assert len(in_order) == len(batches(digits))
    expected = np.stack([PREPROCESSING.apply(digits[index]) for index in range(40)])
    np.testing.assert_array_equal(np.concatenate([batch.images for batch in in_order]), expected)


# Images that cannot be read


@pytest.fixture
def spoiled(tmp_path: Path) -> Dataset:
    """Twelve images of one gray each, of which four cannot be read."""
    from PIL import Image

    for number in range(12):
        file = tmp_path / f"{number:02}.png"
        Image.fromarray(np.full((SIZE, SIZE), 20 * number, np.uint8)).save(file)
        if number % 3 == 0:
            file.write_bytes(file.read_bytes()[:40])
    return open_dataset(tmp_path, role="training", max_bad=4)


def grays(batch: Batch) -> list[float]:
    return batch.images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_unreadable_images_move_no_others(spoiled: Dataset, size: int) -> None:
    """A step without any is one all the same, so that a run that goes on there does what it would have done."""
    drawn = batches(spoiled, size=size)
    whole = list(drawn.from_step(0, 2 * drawn.per_epoch))
    assert len(whole) == 2 * drawn.per_epoch
    seen = [gray for batch in whole[: drawn.per_epoch] for gray in grays(batch)]
    assert sorted(seen) == [20.0 * number for number in range(12) if number % 3]
    for step in range(len(whole)):
        assert same(list(drawn.from_step(step, step + 1)), whole[step : step + 1])
    assert all(len(batch.images) for batch in drawn), "but nothing is judged by no images"


def test_too_many_are_named(spoiled: Dataset) -> None:
    strict = replace(spoiled, max_bad=3)
    with pytest.raises(DataError, match="4 images") as refusal:
        list(batches(strict, size=12).from_step(0, 1))
    assert all(name in refusal.value.message for name in ("00.png", "03.png", "06.png", "09.png"))
    assert "--max-bad" in refusal.value.fix


def test_the_dataset_knows_what_could_not_be_read(spoiled: Dataset) -> None:
    train, held_out = hold_out(spoiled, 0, 4)
    list(batches(train, size=1).from_step(0, len(train)))
    list(batches(held_out))
    assert set(spoiled.log.unreadable) == {"00.png", "03.png", "06.png", "09.png"}


# Augmentation


def moves(augment: Augment, count: int = 200) -> Counter[tuple[int, int, bool]]:
    """How often an image was moved down and right and mirrored; every pixel is checked."""
    image = np.arange(SIZE * SIZE * 3, dtype=np.float32).reshape(SIZE, SIZE, 3)  # no two pixels are the same
    found: Counter[tuple[int, int, bool]] = Counter()
    for number in range(count):
        moved = drawn_move((SIZE, SIZE), augment, np.random.default_rng([0, number])).of_image(image)
        middle = int(moved[SIZE // 2, SIZE // 2, 0]) // 3
        mirrored = bool(moved[10, 11, 0] < moved[10, 10, 0])
        unmirrored = moved[:, ::-1] if mirrored else moved
        column = SIZE // 2 - 1 if mirrored else SIZE // 2
        down, right = SIZE // 2 - middle // SIZE, column - middle % SIZE
        rows = np.clip(np.arange(SIZE) - down, 0, SIZE - 1)
        columns = np.clip(np.arange(SIZE) - right, 0, SIZE - 1)
        np.testing.assert_array_equal(unmirrored, image[np.ix_(rows, columns)])
        found[down, right, mirrored] += 1
    return found


def test_a_shift_goes_a_tenth_each_way() -> None:
    found = moves("shift", 500)
    assert {down for down, _, _ in found} == {right for _, right, _ in found} == {-2, -1, 0, 1, 2}
    assert not any(mirrored for _, _, mirrored in found)


def test_a_flip_mirrors_half_and_shifts() -> None:
    found = moves("flip")
    mirrored = sum(count for (_, _, flipped), count in found.items() if flipped)
    assert 70 < mirrored < 130
    assert len(found) > 30


def test_none_leaves_images_alone() -> None:
    assert set(moves("none", 5)) == {(0, 0, False)}


# Holding out


def test_what_is_held_out_is_not_trained_on() -> None:
    everything = open_dataset("digits", role="training")
    train, held_out = hold_out(everything, 0, 32)
    assert len(held_out) == round(HELD_OUT * len(everything))
    assert set(train.names).isdisjoint(held_out.names)
    assert {*train.names, *held_out.names} == set(everything.names)
    assert hold_out(everything, 0, 32)[1].names == held_out.names
    assert hold_out(everything, 1, 32)[1].names != held_out.names
    counts = Counter(item.label for item in held_out.items)
    assert len(counts) == 10
    assert max(counts.values()) - min(counts.values()) <= 1


def test_no_more_are_held_out_than_it_takes() -> None:
    dataset = open_dataset("digits", role="training")
    many = tuple(replace(item, name=f"{copy}.{item.name}") for copy in range(20) for item in dataset.items)
    _, held_out = hold_out(replace(dataset, items=many), 0, 32)
    assert len(held_out) == MOST_HELD_OUT


def test_a_batch_must_be_left(digits: Dataset) -> None:
    assert len(hold_out(digits, 0, 38)[0]) == 38
    with pytest.raises(UsageError, match="38 images to train on, less than a batch of 39") as refusal:
        hold_out(digits, 0, 39)
    assert "--batch" in refusal.value.fix
