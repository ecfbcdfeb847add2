"""Limits on what a network says of pixels: mean IoU, IoU by class, pixel accuracy, equal pixels.

Bounds are those of a bootstrap over images (:mod:`edgex.segmentation.bootstrap`). Of what too few images show, nothing
is said.
"""

from collections.abc import Iterator

from edgex.gate.chance import chance_doubt
from edgex.gate.records import Check, ClassCheck, Limits, Verdict, beside, list_names, settling, worst
from edgex.proportions import ERROR, images_for
from edgex.report import MapFileFigures
from edgex.segmentation import FEWEST_IMAGES, ClassChange, Estimate, MapComparison


def map_checks(baseline: MapFileFigures, comparison: MapComparison, limits: Limits) -> Iterator[Check]:
    """Of one artifact."""
    doubt = _doubt(baseline, limits.baseline_accuracy, comparison)
    yield _max_drop("max-drop", "mean IoU", comparison.estimate, limits.max_drop, doubt)
    if limits.max_class_drop is not None:
        yield _max_class_drop(comparison, limits.max_class_drop, doubt)
    if limits.max_pixel_drop is not None:
        yield _max_drop("max-pixel-drop", "pixel accuracy", comparison.pixel_drop, limits.max_pixel_drop, doubt)
    if limits.min_agreement is not None:
        yield _min_agreement(comparison, limits.min_agreement)


def _doubt(baseline: MapFileFigures, known: float | None, comparison: MapComparison) -> str:
    """Why a drop says nothing, for a float model of which ``known`` percent mean IoU are known; empty if it does."""
    if not comparison.enough:
        shown = comparison.estimate.shown
        return _too_few(shown, "" if shown == comparison.images else " with pixels that are not void")
    low, high = (100 * bound for bound in baseline.miou_interval)
    if known is not None and not low <= known <= high:
        return (
            f"The float model has a mean IoU of {100 * baseline.miou:.1f} % on {baseline.images:,} images "
            f"({beside(low, known)} to {beside(high, known)}), and is known for {known:g} %: masks or preprocessing do "
            "not fit it, or the images are of another kind."
        )
    return chance_doubt(comparison)


def _too_few(images: int, showing: str = "") -> str:
    return (
        f"There are {images:,} images{showing}, and the bounds of a bootstrap hold from about {FEWEST_IMAGES} on: "
        "too few to say anything."
    )


def _max_drop(name: str, figure: str, drop: Estimate, margin: float, doubt: str) -> Check:
    """Of a ``figure`` over all classes; ``name`` is that of the limit."""
    if doubt:
        return Check(name, "inconclusive", doubt, None if drop.enough else FEWEST_IMAGES)
    verdict = _verdict(drop, margin)
    images = _images(drop, margin) if verdict == "inconclusive" else None
    found = f"The drop of {figure} is {_found(drop, margin, verdict)}.{settling(verdict, images)}"
    return Check(name, verdict, found, images)


def _verdict(drop: Estimate, margin: float, error: float = ERROR) -> Verdict:
    """Whether a drop is under ``margin`` points, at 95 %; a failure is said with a chance of error of ``error``."""
    if drop.upper() < margin:
        return "pass"
    return "fail" if drop.lower(error) > margin else "inconclusive"


def _found(drop: Estimate, margin: float, verdict: Verdict, error: float = ERROR) -> str:
    low, high = beside(drop.lower(error), margin), beside(drop.upper(), margin)
    bounds = {"pass": f"at most {high}", "fail": f"at least {low}", "inconclusive": f"between {low} and {high}"}
    return f"{drop.value:.2f} points, {bounds[verdict]}; {margin:g} are allowed"


def _images(estimate: Estimate, limit: float) -> int | None:
    """How many would settle, four times in five, on which side of ``limit`` a figure is, if it is as it is found."""
    return images_for(estimate.value - limit, estimate.deviation * estimate.images**0.5, at_least=estimate.images + 1)


def _max_class_drop(comparison: MapComparison, margin: float, doubt: str) -> Check:
    """As for classifiers: all must pass, each at 95 %, and one fails with its share of the error."""
    name = "max-class-drop"
    if doubt:
        return Check(name, "inconclusive", doubt, None if comparison.enough else FEWEST_IMAGES)
    there = [(each, each.drop) for each in comparison.classes if each.pixels]
    error = ERROR / len(there)
    enough = [(each, drop) for each, drop in there if drop is not None and drop.enough]
    judged = [(each, drop, _verdict(drop, margin, error)) for each, drop in enough]
    failed = any(verdict == "fail" for _, _, verdict in judged)
    if comparison.absent and not failed:
        return Check(name, "inconclusive", f"There is no pixel of the classes {list_names(comparison.absent)}.")
    rare = [each for each, _ in there if each.images < FEWEST_IMAGES]
    if rare and not failed:
        fewest = min(rare, key=lambda each: each.images)
        return ClassCheck(name, "inconclusive", _too_few(fewest.images, f" with {fewest.name!r}"), FEWEST_IMAGES)
    return _worst_class(judged, margin, error)


def _worst_class(judged: list[tuple[ClassChange, Estimate, Verdict]], margin: float, error: float) -> Check:
    """The verdict on all, and a sentence on the class that decides it."""
    verdict = worst(own for _, _, own in judged)
    alike = [(each, drop) for each, drop, own in judged if own == verdict]
    each, drop = max(alike, key=lambda pair: pair[1].lower(error) if verdict == "fail" else pair[1].upper())
    images, more = None, ""
    if verdict == "inconclusive":
        images = _images(drop, margin)
    if verdict != "pass" and len(alike) > 1:
        more = f" {len(alike) - 1} more classes {'fail' if verdict == 'fail' else 'are in doubt'}."
    found = f"The IoU of {each.name!r} drops by {_found(drop, margin, verdict, error)} ({each.images:,} images)."
    return Check("max-class-drop", verdict, f"{found}{more}{settling(verdict, images)}", images)


def _min_agreement(comparison: MapComparison, least: float) -> Check:
    name = "min-agreement"
    if comparison.agreement is None:
        return Check(name, "inconclusive", "The maps of the earlier release were not kept to compare pixel by pixel.")
    share = comparison.agreement.estimate
    if not share.enough:
        return Check(name, "inconclusive", _too_few(share.shown), FEWEST_IMAGES)
    low, high = 100 * share.lower(), 100 * share.upper()
    verdict: Verdict = "pass" if low > least else "fail" if high < least else "inconclusive"
    images = _images(share, least / 100) if verdict == "inconclusive" else None
    found = (
        f"{100 * share.value:.2f} % of the pixels are labelled alike ({beside(low, least)} to {beside(high, least)})"
    )
    return Check(name, verdict, f"{found}; {least:g} are asked for.{settling(verdict, images)}", images)
