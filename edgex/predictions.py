"""Every prediction of every model on the same images, in columns: ``predictions.npz``, beside the report.

A row is an image. Numpy's ``.npz``, compressed: 4,000 images and five models take about half a megabyte.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgex.documents import parse_json
from edgex.errors import DataError
from edgex.npz_file import read_npz

PREDICTIONS_NAME = "predictions.npz"
PREDICTIONS_SCHEMA = "edgex.predictions/1"

BEST = 5
"""Classes kept of each image, best first; all where there are fewer."""

MOST_BYTES = 2**30
"""Of all columns together, once unpacked."""

Column = NDArray[Any]
COLUMNS = ("best", "probability", "noise")


@dataclass(frozen=True)
class ModelPredictions:
    """Of one model.

    Attributes:
        best: indices of the likeliest classes, best first, int32 (images, 5 or all classes).
        probability: softmax of the best, float32 (images,).
        noise: squared distance of the logits from the baseline's, both centred, float32 (images,); 0 for the baseline.
    """

    best: Column
    probability: Column
    noise: Column

    @property
    def top1(self) -> Column:
        """Index of the likeliest class (images,)."""
        top: Column = self.best[:, 0]
        return top


@dataclass(frozen=True)
class About:
    """What the columns are of.

    Attributes:
        key: hash of all that the predictions follow from: the images, the model files, preprocessing, runtimes.
        class_names: by class index.
        names: of the images, a row each.
        models: names of the files; the first is the baseline.
        seen: images of the dataset that were tried, unreadable ones too; less than all where the work was interrupted.
        unreadable: name of an image → what is wrong with it.
    """

    key: str
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    models: tuple[str, ...]
    seen: int
    unreadable: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Predictions:
    """Columns of images.

    Attributes:
        hashes: sha256 of each image as it is stored, uint8 (images, 32).
        labels: class index, int32 (images,).
        signal: squared length of the baseline's centred logits, float32 (images,).
        of: by model, in the order of ``about.models``.
    """

    about: About
    hashes: Column
    labels: Column
    signal: Column
    of: Mapping[str, ModelPredictions]

    def __len__(self) -> int:
        return len(self.labels)

    def hits(self, model: str) -> NDArray[np.bool_]:
        """Whether a model is right, (images,)."""
        right: NDArray[np.bool_] = self.of[model].top1 == self.labels
        return right

    def snr_db(self, model: str) -> float | None:
        """Signal-to-noise ratio of a model's logits over all images, in decibels; None where there is no noise."""
        return decibels(self.signal, self.of[model].noise)

    def save(self, file: Path) -> None:
        """Write them. OSError if the disk refuses."""
        about = json.dumps({"schema": PREDICTIONS_SCHEMA, **asdict(self.about)})
        columns = {
            f"{column}.{index}": getattr(self.of[model], column)
            for index, model in enumerate(self.of)
            for column in COLUMNS
        }
        with file.open("wb") as stream:
            np.savez_compressed(
                stream,
                about=np.frombuffer(about.encode(), np.uint8),
                hashes=self.hashes,
                labels=self.labels,
                signal=self.signal,
                **columns,
            )


def decibels(signal: Column, noise: Column) -> float | None:
    """Signal-to-noise ratio in decibels, of squares (images,) that are added up; None where there is no noise."""
    power, error = float(signal.sum(dtype=np.float64)), float(noise.sum(dtype=np.float64))
    return 10 * float(np.log10(power / error)) if power and error else None


def load_predictions(file: Path) -> Predictions:
    """Read what :meth:`Predictions.save` wrote.

    Raises:
        DataError: the file is missing or damaged, or is no such file.
    """
    fix = "Write it anew with edgex validate."
    try:
        arrays = read_npz(file, MOST_BYTES)
        about = About(**about_fields(arrays["about"].tobytes(), PREDICTIONS_SCHEMA))
        of = {
            model: ModelPredictions(*(arrays[f"{column}.{index}"] for column in COLUMNS))
            for index, model in enumerate(about.models)
        }
        found = Predictions(about, arrays["hashes"], arrays["labels"], arrays["signal"], of)
        _check(found)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{file} holds no predictions that can be read: {error}.", fix=fix) from error
    return found


def about_fields(text: bytes, schema: str) -> dict[str, Any]:
    """What a JSON object says of columns. ValueError, LookupError, TypeError or AttributeError if it is no such one."""
    document = parse_json(text.decode())
    if document.pop("schema") != schema:
        raise ValueError(f"its schema is not {schema}")
    names = {key: tuple(map(str, document[key])) for key in ("class_names", "names", "models")}
    unreadable = {name: str(why) for name, why in document["unreadable"].items()}
    seen, images = document["seen"], len(names["names"])
    if not isinstance(seen, int) or seen < images:
        raise ValueError(f"it has {images} images of {seen!r}")
    return {**document, **names, "unreadable": unreadable}


def check_columns(expected: Iterable[tuple[Column, tuple[int, ...], str]]) -> None:
    """ValueError if a column is not of the shape and type beside it, or not finite."""
    for column, shape, dtype in expected:
        if column.shape != shape or column.dtype != np.dtype(dtype):
            raise ValueError(f"a column is {column.dtype} {column.shape}, not {dtype} {shape}")
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            raise ValueError("a column is not finite")


def _check(found: Predictions) -> None:
    """ValueError if columns do not fit each other, or hold what cannot be."""
    images, classes = len(found.about.names), len(found.about.class_names)
    kept = min(BEST, classes)
    expected = [(found.hashes, (images, 32), "u1"), (found.labels, (images,), "i4"), (found.signal, (images,), "f4")]
    for model in found.of.values():
        expected += [(model.best, (images, kept), "i4"), (model.probability, (images,), "f4")]
        expected += [(model.noise, (images,), "f4")]
    check_columns(expected)
    for column, _, _ in expected:
        if column.dtype.kind == "i" and column.size and not 0 <= column.min() <= column.max() < classes:
            raise ValueError("a column names classes that there are not")
