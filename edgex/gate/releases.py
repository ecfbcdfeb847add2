"""Artifacts against those of an earlier release, image by image."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgex.comparison import compare
from edgex.errors import DataError
from edgex.gate.records import AnyComparison
from edgex.manifest import file_record
from edgex.predictions import PREDICTIONS_NAME, Column, Predictions, load_predictions
from edgex.report import AnyReport, MapReport, Report, read_report
from edgex.report.maps import image_counts
from edgex.segmentation import MapComparison
from edgex.segmentation.predictions import MapPredictions, load_map_predictions

FRESH = "Write both anew with edgex validate."
SAME_IMAGES = "Validate both releases on the same images."


@dataclass(frozen=True)
class Releases:
    """Two releases, compared.

    Attributes:
        comparisons: by artifact of the newer; None where the earlier one has not exactly one of its kind.
        notes: sentences on what could not be compared.
    """

    comparisons: Mapping[str, AnyComparison | None]
    notes: tuple[str, ...]


def compare_releases(file: Path, report: AnyReport, earlier: Path) -> Releases:
    """Each judged artifact against that of the same kind in an earlier release, on the images that both saw.

    Images are the same if their stored bytes are, and classes if their names are.

    Args:
        file: that ``report`` was read from.
        earlier: the report of the earlier release.

    Raises:
        DataError: the earlier report or predictions cannot be read or do not belong together, one is of a classifier
            and the other is not, the two have no image in common, or they label one differently.
    """
    before = read_report(earlier)
    if isinstance(report, MapReport) and isinstance(before, MapReport):
        return _compare_maps(file, report, earlier, before)
    if isinstance(report, Report) and isinstance(before, Report):
        return _compare_classes(file, report, earlier, before)
    raise DataError(
        f"Of {file} and {earlier} one is of a classifier, and the other of a network that labels pixels.",
        fix="Compare releases of one model.",
    )


def _compare_classes(file: Path, report: Report, earlier: Path, before: Report) -> Releases:
    new, old = _predictions(file, report), _predictions(earlier, before)
    rows, old_rows = _rows_of_both(file, new.hashes, earlier, old.hashes)
    classes = list(dict.fromkeys([*new.about.class_names, *old.about.class_names]))
    place = {name: index for index, name in enumerate(classes)}
    of_new, of_old = (np.array([place[name] for name in each.about.class_names]) for each in (new, old))
    labels = of_new[new.labels[rows]]
    if (labels != of_old[old.labels[old_rows]]).any():
        raise DataError(f"{file} and {earlier} label the same images differently.", fix=SAME_IMAGES)

    def compared(name: str, earlier_name: str) -> AnyComparison:
        said = of_old[old.of[earlier_name].top1[old_rows]], of_new[new.of[name].top1[rows]]
        return compare(labels, *said, classes)

    return Releases(_of_one_kind(report, before, compared), _note(len(rows), len(new), len(old)))


def _compare_maps(file: Path, report: MapReport, earlier: Path, before: MapReport) -> Releases:
    """By counts and hashes of maps: the maps themselves are not kept."""
    new, old = _map_predictions(file, report), _map_predictions(earlier, before)
    if (new.about.class_names, new.about.size) != (old.about.class_names, old.about.size):
        raise DataError(
            f"{file} and {earlier} are of maps of other classes or another size.", fix="Compare releases of one model."
        )
    rows, old_rows = _rows_of_both(file, new.hashes, earlier, old.hashes)
    if (new.masks[rows] != old.masks[old_rows]).any():
        raise DataError(f"{file} and {earlier} have other masks for the same images.", fix=SAME_IMAGES)
    baseline = new.of[new.about.models[0]]
    if not baseline.confusions.by_class().of(rows).truth.any():
        raise DataError(
            f"All pixels of the {len(rows):,} images that {file} and {earlier} share are void.",
            fix="Validate both releases on the same images, some with classes in their masks.",
        )

    def compared(name: str, earlier_name: str) -> AnyComparison:
        was, now = old.of[earlier_name], new.of[name]
        pixels_before, pixels_now = was.confusions.by_class().of(old_rows), now.confusions.by_class().of(rows)
        discordant = int((was.maps[old_rows] != now.maps[rows]).any(axis=1).sum())
        return MapComparison(new.about.class_names, pixels_before, pixels_now, discordant, agreement=None)

    return Releases(_of_one_kind(report, before, compared), _note(len(rows), len(new), len(old)))


def _of_one_kind(
    report: AnyReport, before: AnyReport, compared: Callable[[str, str], AnyComparison]
) -> dict[str, AnyComparison | None]:
    """By artifact, where the earlier release has exactly one of its kind."""
    kinds = defaultdict(list)
    for artifact in before.artifacts:
        kinds[artifact.format, artifact.precision].append(artifact.name)
    comparisons: dict[str, AnyComparison | None] = {}
    for artifact in report.artifacts:
        match kinds[artifact.format, artifact.precision]:
            case [name] if artifact.judged:
                comparisons[artifact.name] = compared(artifact.name, name)
            case _:
                comparisons[artifact.name] = None
    return comparisons


def _note(both: int, new: int, old: int) -> tuple[str, ...]:
    if both == max(new, old):
        return ()
    return (f"Judged on the {both:,} images that both releases saw; this one saw {new:,}, the earlier one {old:,}.",)


def _rows_of_both(
    file: Path, hashes: Column, earlier: Path, old_hashes: Column
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the same images. DataError if there is none."""
    rows, old_rows = _shared_rows(hashes, old_hashes)
    if not len(rows):
        raise DataError(f"{file} and {earlier} have no image in common.", fix=SAME_IMAGES)
    return rows, old_rows


def _shared_rows(a: Column, b: Column) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the same images; of copies of an image the first goes with the first."""
    waiting: dict[bytes, list[int]] = defaultdict(list)
    for row in reversed(range(len(b))):
        waiting[_hash(b, row)].append(row)
    pairs = [(row, rows.pop()) for row in range(len(a)) if (rows := waiting.get(_hash(a, row)))]
    rows_of_both = np.array(pairs, np.int64).reshape(-1, 2)
    return rows_of_both[:, 0], rows_of_both[:, 1]


def _hash(hashes: Column, row: int) -> bytes:
    found: bytes = hashes[row].tobytes()
    return found


def _predictions(file: Path, report: Report) -> Predictions:
    """Those beside a report. DataError if they are missing, or are not what the report was made of."""
    beside = _beside(file, report)
    found = load_predictions(beside)
    hits = {figures.name: figures.hits for figures in (report.baseline, *report.artifacts)}
    same_images = (len(found), found.about.class_names) == (report.data.images, report.data.class_names)
    if not same_images or hits != {model: int(found.hits(model).sum()) for model in found.of}:
        raise DataError(f"The counts of {file} do not follow from {beside}.", fix=FRESH)
    return found


def _map_predictions(file: Path, report: MapReport) -> MapPredictions:
    """The same of maps."""
    beside = _beside(file, report)
    found = load_map_predictions(beside)
    counts = {figures.name: figures.counts for figures in (report.baseline, *report.artifacts)}
    same_images = (len(found), found.about.class_names) == (report.data.images, report.data.class_names)
    follow = {model: image_counts(each.confusions.by_class()) for model, each in found.of.items()}
    if not same_images or counts != follow:
        raise DataError(f"The counts of {file} do not follow from {beside}.", fix=FRESH)
    return found


def _beside(file: Path, report: AnyReport) -> Path:
    """The predictions beside a report. DataError if they are missing, or not those that it was made with."""
    beside = file.with_name(PREDICTIONS_NAME)
    if not beside.is_file():
        raise DataError(
            f"{beside} is missing, and without it {file} cannot be compared image by image.",
            fix=f"Keep {PREDICTIONS_NAME} beside the report.",
        )
    if file_record(beside).sha256 != report.predictions:
        raise DataError(f"{beside} is not the file that {file} was made with.", fix=FRESH)
    return beside
