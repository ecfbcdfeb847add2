"""What a network loses of another's top-1, image by image."""

from benchmarks.report import Cell
from edgex.dataset import Dataset
from edgex.evaluate import EvalResult
from edgex.proportions import Paired

COLUMNS = ("model", "top-1 %", "points lost", "at most", "other class than float")


def paired(reference: EvalResult, result: EvalResult, images: Dataset) -> Paired:
    before, after = (each.predictions == images.labels for each in (reference, result))
    return Paired(len(images), lost=int((before & ~after).sum()), gained=int((after & ~before).sum()))


def row(name: str, result: EvalResult, reference: EvalResult, images: Dataset) -> tuple[Cell, ...]:
    """Of a table with :data:`COLUMNS`."""
    if result is reference:
        return (name, 100 * result.top1, None, None, None)
    drop = paired(reference, result, images)
    apart = int((result.predictions != reference.predictions).sum())
    return (name, 100 * result.top1, 100 * drop.drop, 100 * drop.upper_bound(), apart)
