"""What validation would refuse, refused before it has cost any training."""

from edgex.dataset import Dataset, check_disjoint, open_dataset
from edgex.errors import DataError, UsageError
from edgex.graph.read import read_model
from edgex.pipeline import calibration_images
from edgex.pipeline.origin import origin_of
from edgex.pipeline.training import tells_its_classes
from edgex.run.recipe import Recipe
from edgex.train.batches import what_is_taught
from edgex.train.head import classes_of


def expect_fit(recipe: Recipe, labelled: Dataset) -> None:
    """See that the images to validate on, ``labelled``, are of the model's classes, that nothing is to see them, and
    that the limits are of what they tell.

    Raises:
        UsageError: they are not. Other EdgexErrors as of reading the model and the images.
    """
    graph = read_model(recipe.model, input_size=recipe.quantize.input_size)
    path = labelled.source.path
    if not what_is_taught(graph, labelled).labelled:
        raise UsageError(
            f"{path} has {'masks' if labelled.segmented else 'a label for each image'}, and {recipe.model} gives the "
            f"shape {graph.shapes[graph.outputs[0]]}.",
            fix="Validate on masks what labels pixels, and on class folders what classifies images.",
        )
    if not labelled.segmented:
        recipe.validate.limits.refuse_pixel_limits(f"{path} has no masks")
    if not tells_its_classes(graph, labelled):
        raise UsageError(
            f"{recipe.model} knows {classes_of(graph)} classes, and {path} has labels for {len(labelled.class_names)}.",
            fix="Validate on images of the classes that the model was trained on.",
        )
    check_disjoint(_to_be_seen(recipe, labelled), labelled)


def _to_be_seen(recipe: Recipe, labelled: Dataset) -> set[str]:
    """Hashes of images that the model was or will be trained on, and of those of ``labelled`` to calibrate with."""
    origin, max_bad = origin_of(recipe.model), recipe.quantize.max_bad
    seen = set(origin.images) if origin is not None else set()
    if recipe.train is not None:
        trained = open_dataset(recipe.train, role="training", max_bad=max_bad)
        seen.update(content for content in trained.content_hashes if content)
    calib = calibration_images(recipe.calib, recipe.quantize)
    labelled_hashes = set(labelled.content_hashes)
    for index, content in enumerate(calib.content_hashes):
        if content in labelled_hashes and content and _is_read(calib, index):
            seen.add(content)
    return seen


def _is_read(images: Dataset, index: int) -> bool:
    """Whether ranges can come from an image: two files that are cut to nothing are alike, and no harm."""
    try:
        images[index]
    except DataError:
        return False
    return True
