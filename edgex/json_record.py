"""Records that live in JSON files, which a program other than edgex may have changed."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from edgex.documents import read_json
from edgex.errors import DataError


class Record(BaseModel):
    """Part of such a file: numbers are finite, and what follows from others is computed and not believed."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


CLOSE = 1e-9
"""Figures that follow from the same counts may differ by so much between machines."""

AnyRecord = TypeVar("AnyRecord", bound=Record)


def to_json(schema: str, record: Record) -> str:
    """The content of a file, which begins with the name and version of its schema."""
    return json.dumps(to_document(schema, record), indent=1, allow_nan=False) + "\n"


def to_document(schema: str, record: Record) -> dict[str, Any]:
    return {"schema": schema, **record.model_dump(mode="json")}


def read_record(file: Path, schema: str, kind: type[AnyRecord], fix: str) -> AnyRecord:
    """The record in a file.

    Raises:
        DataError: it is missing or damaged, has another schema or a number that is not finite, or was edited so that
            its figures contradict each other.
    """
    return read_any_record(file, {schema: kind}, fix)


def read_any_record(file: Path, kinds: Mapping[str, type[AnyRecord]], fix: str) -> AnyRecord:
    """The record in a file, of the kind that its schema tells; errors as :func:`read_record`."""
    schema = next(iter(kinds))
    try:
        document = read_json(file)
        if document.get("schema") not in [*kinds]:  # a list, for what the file gives may have no hash
            raise ValueError(f"it has not the schema {' or '.join(kinds)}")
        schema = document["schema"]
        record = kinds[schema].model_validate(document)
        where = difference(document, to_document(schema, record))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        name = schema.partition("/")[0]
        raise DataError(f"{file} is no {name} document: {place!r}: {first['msg']}.", fix=fix) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}.", fix=fix) from error
    if where is not None:
        raise DataError(f"{file} was changed: its {where!r} is not what follows from its counts.", fix=fix)
    return record


def difference(given: Any, expected: Any, where: str = "") -> str | None:
    """The first place in which two documents differ, or None."""
    if isinstance(given, dict) and isinstance(expected, dict):
        keys = dict.fromkeys([*expected, *given])
        places = [(given.get(key), expected.get(key), f"{where}.{key}".lstrip(".")) for key in keys]
    elif isinstance(given, list) and isinstance(expected, list) and len(given) == len(expected):
        places = [(a, b, f"{where}[{index}]") for index, (a, b) in enumerate(zip(given, expected, strict=True))]
    elif isinstance(given, float) and isinstance(expected, float):
        return None if math.isclose(given, expected, rel_tol=CLOSE, abs_tol=CLOSE) else where
    else:
        return None if given == expected else where
    return next((found for place in places if (found := difference(*place)) is not None), None)
