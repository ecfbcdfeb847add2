"""Puts together what the page of a classifier shows.

``report.html.jinja`` says where; ``words``, ``plots`` and ``gallery`` say what.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from edgex.comparison import ClassComparison
from edgex.gate import GateResult, Judgement
from edgex.page.gallery import Gallery, gallery, thumbnail_uri
from edgex.page.heat import looks
from edgex.page.plots import MOST_ROWS, Share, class_plot
from edgex.page.rendering import layer_plots, noise_shares, render, result_plots
from edgex.page.words import advice
from edgex.predictions import Predictions
from edgex.preprocess import Pixels
from edgex.records import split_names
from edgex.report import ArtifactFigures, FileFigures, Report

TEMPLATE = "report.html.jinja"


@dataclass(frozen=True)
class JudgedArtifact:
    """All that the page shows of one.

    Attributes:
        name: short.
        advice: sentences.
        there: classes with images.
        classes: of those, worst first, as many as are shown.
        class_plot: of those.
    """

    name: str
    figures: ArtifactFigures
    judgement: Judgement
    advice: Sequence[str]
    there: int
    classes: Sequence[ClassComparison]
    class_plot: str
    gallery: Gallery


def report_page(
    report: Report, result: GateResult, predictions: Predictions, pixels: Callable[[str], Pixels | None]
) -> str:
    """An HTML document that needs nothing beside it: no script, no font, no request. The same for the same input.

    Args:
        report: what was measured.
        result: of judging it.
        predictions: that the report was made from.
        pixels: an image by name, uint8 (height, width, 1 or 3); None if it cannot be read.
    """
    files = (report.baseline, *report.artifacts)
    _, names = split_names([file.name for file in files])

    @cache
    def thumbnail(name: str) -> str | None:
        found = pixels(name)
        return None if found is None else thumbnail_uri(found)

    judged: list[JudgedArtifact] = []
    for figures, judgement in zip((each for each in report.artifacts if each.judged), result.results, strict=True):
        there = figures.comparison.worst_classes()
        classes = there[:MOST_ROWS]
        judged.append(
            JudgedArtifact(
                names[figures.name],
                figures,
                judgement,
                advice(judgement),
                len(there),
                classes,
                class_plot(f"classes{len(judged)}", classes, result.limits.max_class_drop),
                gallery(predictions, figures.name, thumbnail),
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
        looks=looks(report, pixels),
        plots=result_plots(report, result, names, _top1, ("top-1", "top-1 accuracy"))
        | layer_plots(report, sensitivity),
        sensitivity=sensitivity,
    )


def _top1(file: FileFigures) -> Share:
    return Share(file.top1, file.top1_interval)
