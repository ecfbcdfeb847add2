"""What ``eval`` found, as tables."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from edgex.console import out
from edgex.render.tables import file_names, new_table
from edgex.render.text import on_one_line, percent

if TYPE_CHECKING:
    from edgex.evaluate import EvalResult, MapResult
    from edgex.measure import Evaluation


def show_evaluation(evaluation: "Evaluation") -> None:
    from edgex.evaluate import EvalResult, MapResult

    show_eval([result for result in evaluation.results if isinstance(result, EvalResult)])
    show_maps([result for result in evaluation.results if isinstance(result, MapResult)])


def show_eval(results: Sequence["EvalResult"]) -> None:
    """Of classifiers."""
    from edgex.evaluate import agreement

    if not results:
        return
    reference = next((result for result in results if ".fp32." in result.path.name), None)
    title, names = file_names([result.path for result in results])
    columns = [title, "runtime", "images", "top-1 %", "95 % interval", "top-5 %"]
    table = new_table(*columns, *(["agrees with fp32 %"] if reference else []))
    for result in results:
        row = [
            names[result.path],
            result.runtime,
            f"{result.images:,}",
            percent(result.top1),
            f"{percent(result.low)} – {percent(result.high)}",
            percent(result.top5),
        ]
        if reference:
            row.append("" if result is reference else percent(agreement(result, reference)))
        table.add_row(*row)
    out().print(table)


def show_maps(results: Sequence["MapResult"]) -> None:
    """Of networks that score each pixel: a table of the files, and one of the classes."""
    if not results:
        return
    title, names = file_names([result.path for result in results])
    beside = any(result.agreeing is not None for result in results)
    columns = [title, "runtime", "images", "mean IoU %", "95 % interval", "pixel accuracy %"]
    table = new_table(*columns, *(["agrees with fp32 %"] if beside else []))
    for result in results:
        low, high = result.miou_interval
        agreeing = [] if result.agreeing is None else [percent(result.agreeing)]
        interval = f"{percent(low)} – {percent(high)}"
        figures = [percent(result.miou), interval, percent(result.pixel_accuracy)]
        table.add_row(names[result.path], result.runtime, f"{result.images:,}", *figures, *agreeing)
    out().print(table)
    if not all(result.enough for result in results):
        out().print(unbounded("mean IoU"))
    table = new_table("IoU %", *(names[result.path] for result in results))
    for classes in zip_longest(*(result.classes for result in results)):
        (name, _) = next(filter(None, classes))
        shares = [None if each is None else each[1] for each in classes]
        table.add_row(on_one_line(name), *("–" if share is None else percent(share) for share in shares))
    out().print(table)


def unbounded(figure: str) -> str:
    """Why the bounds of a figure of pixels say nothing."""
    from edgex.segmentation import FEWEST_IMAGES

    return f"With fewer than {FEWEST_IMAGES} images nothing is proven of {figure}: its bounds are all that it can be."
