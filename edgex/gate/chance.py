"""Whether a baseline is better than chance at all: if it is not, nothing that it loses says anything."""

from edgex.comparison import Comparison
from edgex.gate.records import AnyComparison
from edgex.proportions import Z_ONE_SIDED_95, wilson_interval
from edgex.segmentation import MapComparison


def chance_doubt(comparison: AnyComparison, model: str = "The baseline") -> str:
    """Why the baseline of a comparison, called ``model``, may be no better than chance; empty if it surely is."""
    return _of_maps(comparison, model) if isinstance(comparison, MapComparison) else _of_classes(comparison, model)


def _of_classes(comparison: Comparison, model: str) -> str:
    if comparison.chance == 1:
        return "All images are of one class, for which a model that always says it is always right."
    sure, _ = wilson_interval(comparison.baseline_hits, comparison.images, Z_ONE_SIDED_95)
    if sure > comparison.chance:
        return ""
    return (
        f"{model} is right on {100 * comparison.baseline_hits / comparison.images:.1f} % of {comparison.images:,} "
        f"images, which is not surely better than always saying the commonest class "
        f"({100 * comparison.chance:.1f} %): too few images, or labels or preprocessing that do not fit the model."
    )


def _of_maps(comparison: MapComparison, model: str) -> str:
    found = comparison.of_baseline
    if (found.truth > 0).sum() == 1:
        return "All pixels are of one class, for which a model that always says it is always right."
    if found.miou.lower() > found.chance:
        return ""
    return (
        f"{model} has a mean IoU of {100 * found.miou.value:.1f} % on {found.images:,} images, which is not surely "
        f"better than always saying the commonest class ({100 * found.chance:.1f} %): too few images, or masks or "
        "preprocessing that do not fit the model."
    )
