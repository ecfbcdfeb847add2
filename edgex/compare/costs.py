"""What INT8 costs a model: its INT8 files beside the float one, on images with labels or with masks."""

from collections.abc import Callable, Sequence
from pathlib import Path

from edgex.comparison import compare
from edgex.dataset import Dataset
from edgex.evaluate import EvalResult, MapResult, compare_maps
from edgex.gate import AnyComparison
from edgex.measure import evaluate_artifacts


def int8_costs(
    baseline: Path,
    files: Sequence[Path],
    data: str | Path,
    labelled: Dataset,
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[AnyComparison]:
    """Evaluate artifacts of a model, and compare each with its float file.

    Args:
        baseline: the float file, ``.fp32.onnx``.
        files: those to compare with it, from the same directory.
        data: the images; of one label each, or with masks.
        labelled: those, opened; none of them may be unreadable.
        threads: as for :func:`edgex.measure.evaluate_artifacts`, whose errors these are; so ``progress``.
    """
    evaluation = evaluate_artifacts([baseline, *files], data, threads=threads, progress=progress)
    first, *others = evaluation.results
    costs: list[AnyComparison] = []
    for result in others:
        if isinstance(first, MapResult) and isinstance(result, MapResult):
            costs.append(compare_maps(first, result))
        else:
            assert isinstance(first, EvalResult)
            assert isinstance(result, EvalResult)
            assert labelled.labels is not None  # the role is evaluation
            costs.append(compare(labelled.labels, first.predictions, result.predictions, labelled.class_names))
    return costs
