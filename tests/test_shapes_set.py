"""The made-up segmentation set is the same for the same seed, has all classes, and edges that matter."""

import numpy as np
from shapes import CLASSES, VOID, shapes


def test_the_same_for_the_same_seed() -> None:
    few, more = shapes(3, 32, seed=5), shapes(6, 32, seed=5)
    for one, other in zip(few, more, strict=True):
        np.testing.assert_array_equal(one, other[:3])
    assert (shapes(3, 32, seed=6).images != few.images).any()


def test_every_class_is_there_and_no_image_is_plain() -> None:
    made = shapes(60, 48)
    shares = np.bincount(made.masks.ravel(), minlength=len(CLASSES)) / made.masks.size
    assert len(shares) == len(CLASSES)
    assert shares.min() > 0.02
    assert all((mask != mask[0, 0]).any() for mask in made.masks)


def test_void_lies_along_edges() -> None:
    made, plain = shapes(4, 48, void=True), shapes(4, 48)
    np.testing.assert_array_equal(made.images, plain.images)
    void = made.masks == VOID
    np.testing.assert_array_equal(made.masks[~void], plain.masks[~void])
    steps = plain.masks[:, 1:] != plain.masks[:, :-1]
    assert (void[:, 1:] | void[:, :-1])[steps].mean() > 0.95
    assert void.mean() < 0.3
