"""Puts together what the page shows of networks that label pixels; ``maps.html.jinja`` says where."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from edgex.gate import GateResult, Judgement
from edgex.page.map_gallery import VOID_COLOUR, ChangedMap, changed_maps, class_colour, css_colour, picture_uri
from edgex.page.pictures import as_the_model_sees_it
from edgex.page.plots import MOST_ROWS, Bounds, Share, rows_plot
from edgex.page.rendering import layer_plots, noise_shares, render, result_plots
from edgex.page.words import advice
from edgex.preprocess import Pixels
from edgex.records import split_names
from edgex.report import MapArtifactFigures, MapFileFigures, MapReport
from edgex.segmentation import FEWEST_IMAGES, ClassChange, Estimate, MapComparison
from edgex.segmentation.predictions import MapPredictions

TEMPLATE = "maps.html.jinja"


@dataclass(frozen=True)
class JudgedMaps:
    """All that the page shows of an artifact.

    Attributes:
        name: short.
        advice: sentences.
        there: classes with pixels.
        classes: of those, with their drops, worst first, as many as are shown.
        class_plot: of those.
        gallery: images that changed most.
    """

    name: str
    figures: MapArtifactFigures
    judgement: Judgement
    advice: Sequence[str]
    there: int
    classes: Sequence[tuple[ClassChange, Bounds]]
    class_plot: str
    gallery: Sequence[ChangedMap]


@dataclass(frozen=True)
class ClassRow:
    """A class in the legend: IoU by each file, None where it is neither there nor said to be."""

    name: str
    colour: str
    pixels: int
    iou: Sequence[float | None]


def map_report_page(
    report: MapReport, result: GateResult, predictions: MapPredictions, pixels: Callable[[str], Pixels | None]
) -> str:
    """An HTML document that needs nothing beside it; arguments as of :func:`edgex.page.report_page`."""
    files = (report.baseline, *report.artifacts)
    _, names = split_names([file.name for file in files])

    seen = as_the_model_sees_it(report.settings.get("preprocessing"), pixels)

    @cache
    def picture(name: str) -> str | None:
        found = seen(name)
        return None if found is None else picture_uri(found)

    judged: list[JudgedMaps] = []
    for figures, judgement in zip((each for each in report.artifacts if each.judged), result.results, strict=True):
        there = _worst_classes(report.comparisons[figures.name])
        classes = there[:MOST_ROWS]
        rows = [(each.name, bounds) for each, bounds in classes]
        judged.append(
            JudgedMaps(
                names[figures.name],
                figures,
                judgement,
                advice(judgement),
                len(there),
                classes,
                rows_plot(f"classes{len(judged)}", "Drop of IoU by class", rows, result.limits.max_class_drop),
                changed_maps(predictions, figures.name, picture),
            )
        )
    sensitivity = noise_shares(report.sensitivity)[:MOST_ROWS]
    return render(
        TEMPLATE,
        report,
        result,
        files=files,
        names=names,
        judged=judged,
        plots=result_plots(report, result, names, _miou, ("mean IoU", "mean IoU")) | layer_plots(report, sensitivity),
        sensitivity=sensitivity,
        class_rows=_class_rows(report),
        fewest=FEWEST_IMAGES,
        void_colour=css_colour(VOID_COLOUR),
    )


def _worst_classes(comparison: MapComparison) -> list[tuple[ClassChange, Bounds]]:
    known = [(each, _bounds(each.drop)) for each in comparison.classes if each.pixels and each.drop is not None]
    return sorted(known, key=lambda row: -row[1][1])


def _bounds(estimate: Estimate) -> Bounds:
    return estimate.lower(), estimate.value, estimate.upper()


def _class_rows(report: MapReport) -> list[ClassRow]:
    columns = [file.class_iou for file in (report.baseline, *report.artifacts)]
    pixels = report.baseline.measures.truth
    return [
        ClassRow(
            name,
            css_colour(class_colour(index)),
            int(pixels[index]) if index < len(pixels) else 0,
            [column[index] if index < len(column) else None for column in columns],
        )
        for index, name in enumerate(report.data.class_names)
    ]


def _miou(file: MapFileFigures) -> Share:
    return Share(file.miou, file.miou_interval)
