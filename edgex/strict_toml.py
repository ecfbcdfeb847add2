"""The content of TOML files as frozen models that refuse what they don't know, in words a user can act on."""

from pathlib import Path
from reprlib import repr as shortened
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from edgex.errors import UsageError


class StrictModel(BaseModel):
    """Base of everything read from TOML: frozen, unknown keys refused, numbers finite, text without null characters."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _without_null(cls, value: object) -> object:
        if isinstance(value, str) and "\0" in value:
            raise ValueError("which has a null character")
        return value


Model = TypeVar("Model", bound=StrictModel)


def validated(model: type[Model], document: dict[str, Any], file: Path, table: str = "") -> Model:
    """``document``, found in ``table`` of ``file``, as a ``model``.

    Raises:
        UsageError: names file and key of every fault; for an unknown key it lists the valid ones.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        faults, fixes = [], []
        for fault in error.errors():
            key = ".".join([*filter(None, [table]), *map(str, fault["loc"])])
            match fault["type"]:
                case "extra_forbidden":
                    faults.append(f"unknown key {key}")
                    fixes.append(f"Valid keys there are {', '.join(_keys(model, fault['loc'][:-1]))}.")
                case "missing":
                    faults.append(f"{key} is missing")
                case _:
                    reason = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
                    faults.append(f"{key} is {shortened(fault['input'])}, {reason}")
        message = "; ".join(dict.fromkeys(faults))
        raise UsageError(f"{file}: {message}.", fix=" ".join(dict.fromkeys(fixes)) or "Correct the file.") from error


def _keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The keys of the table that ``path`` leads to."""
    for part in path:
        annotation = model.model_fields[str(part)].annotation
        choices = (annotation, *get_args(annotation))
        model = next(choice for choice in choices if isinstance(choice, type) and issubclass(choice, BaseModel))
    return list(model.model_fields)
