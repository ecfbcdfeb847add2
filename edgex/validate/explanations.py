"""Where the models of a validated directory look; see :mod:`edgex.explain`."""

from pathlib import Path
from typing import Protocol

from edgex.dataset import Dataset
from edgex.explain import Subject, explain
from edgex.explanation import Explanation
from edgex.predictions import Predictions
from edgex.preprocess import Preprocessing
from edgex.runtime import physical_cores
from edgex.validate.assemble import Measurements

NOT_SEGMENTERS = "Segmenters are not explained: a class for each pixel says itself where they see it."


class Options(Protocol):
    """Those of :class:`edgex.validate.ValidateOptions` that matter here."""

    @property
    def threads(self) -> int | None: ...

    @property
    def python(self) -> Path | None: ...


class Progress(Protocol):
    def __call__(self, what: str, done: int, total: int, /) -> None: ...


def explanation_of(
    measured: Measurements,
    predictions: Predictions,
    dataset: Dataset,
    preprocessing: Preprocessing,
    options: Options,
    progress: Progress,
) -> Explanation:
    """Of the baseline and each INT8 file; errors as :func:`edgex.explain.explain`."""
    subjects = [
        Subject(subject.name, subject.artifact.path, runtime)
        for subject, runtime in zip(measured.subjects, measured.runtimes, strict=True)
    ]
    judged = [
        subject
        for subject, of in zip(subjects, measured.subjects, strict=True)
        if of.artifact.precision in ("int8", "mixed") and of is not measured.subjects[0]
    ]
    return explain(
        subjects[0],
        judged,
        dataset,
        preprocessing,
        predictions,
        threads=options.threads or physical_cores(),
        python=options.python,
        progress=progress,
    )
