"""Artifacts against those of an earlier release, image by image."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgex.comparison import Comparison, compare
from edgex.errors import DataError
from edgex.manifest import file_record
from edgex.predictions import PREDICTIONS_NAME, Column, Predictions, load_predictions
from edgex.report import Report, read_report


@dataclass(frozen=True)
class Releases:
    """Two releases, compared.

    Attributes:
        comparisons: by artifact of the newer; None where the earlier one has not exactly one of its kind.
        notes: sentences on what could not be compared.
    """

    comparisons: Mapping[str, Comparison | None]
    notes: tuple[str, ...]


def compare_releases(file: Path, report: Report, earlier: Path) -> Releases:
    """Each judged artifact against that of the same kind in an earlier release, on the images that both saw.

    Images are the same if their stored bytes are, and classes if their names are.

    Args:
        file: that ``report`` was read from.
        earlier: the report of the earlier release.

    Raises:
        DataError: the earlier report or predictions cannot be read or do not belong together, the two have no image in
            common, or they label one differently.
    """
    before = read_report(earlier)
    new, old = _predictions(file, report), _predictions(earlier, before)
    rows, old_rows = _shared_rows(new, old)
    fix = "Validate both releases on the same images."
    if not len(rows):
        raise DataError(f"{file} and {earlier} have no image in common.", fix=fix)
    classes = list(dict.fromkeys([*new.about.class_names, *old.about.class_names]))
    place = {name: index for index, name in enumerate(classes)}
    of_new, of_old = (np.array([place[name] for name in each.about.class_names]) for each in (new, old))
    labels = of_new[new.labels[rows]]
    if (labels != of_old[old.labels[old_rows]]).any():
        raise DataError(f"{file} and {earlier} label the same images differently.", fix=fix)
    kinds = defaultdict(list)
    for artifact in before.artifacts:
        kinds[artifact.format, artifact.precision].append(artifact.name)
    comparisons: dict[str, Comparison | None] = {}
    for artifact in report.artifacts:
        match kinds[artifact.format, artifact.precision]:
            case [name] if artifact.judged:
                said = of_old[old.of[name].top1[old_rows]], of_new[new.of[artifact.name].top1[rows]]
                comparisons[artifact.name] = compare(labels, *said, classes)
            case _:
                comparisons[artifact.name] = None
    notes = []
    if len(rows) < max(len(new), len(old)):
        notes.append(
            f"Judged on the {len(rows):,} images that both releases saw; this one saw {len(new):,}, "
            f"the earlier one {len(old):,}."
        )
    return Releases(comparisons, tuple(notes))


def _shared_rows(a: Predictions, b: Predictions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the same images; of copies of an image the first goes with the first."""
    waiting: dict[bytes, list[int]] = defaultdict(list)
    for row in reversed(range(len(b))):
        waiting[_hash(b.hashes, row)].append(row)
    pairs = [(row, rows.pop()) for row in range(len(a)) if (rows := waiting.get(_hash(a.hashes, row)))]
    rows_of_both = np.array(pairs, np.int64).reshape(-1, 2)
    return rows_of_both[:, 0], rows_of_both[:, 1]


def _hash(hashes: Column, row: int) -> bytes:
    found: bytes = hashes[row].tobytes()
    return found


def _predictions(file: Path, report: Report) -> Predictions:
    """Those beside a report. DataError if they are missing, or are not what the report was made of."""
    beside = file.with_name(PREDICTIONS_NAME)
    if not beside.is_file():
        raise DataError(
            f"{beside} is missing, and without it {file} cannot be compared image by image.",
            fix=f"Keep {PREDICTIONS_NAME} beside the report.",
        )
    fix = "Write both anew with edgex validate."
    if file_record(beside).sha256 != report.predictions:
        raise DataError(f"{beside} is not the file that {file} was made with.", fix=fix)
    found = load_predictions(beside)
    hits = {figures.name: figures.hits for figures in (report.baseline, *report.artifacts)}
    same_images = (len(found), found.about.class_names) == (report.data.images, report.data.class_names)
    if not same_images or hits != {model: int(found.hits(model).sum()) for model in found.of}:
        raise DataError(f"The counts of {file} do not follow from {beside}.", fix=fix)
    return found
