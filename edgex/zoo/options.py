"""What an architecture can be told: each option as data, with its default and what it takes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgex.errors import UsageError

Value = float | int | str | bool


@dataclass(frozen=True)
class Option:
    """One option of an architecture.

    Attributes:
        default: what it is untold.
        summary: what it does, in a few words for messages.
        kind: ``float`` is a positive number, ``int`` a positive whole number, ``bool`` yes or no, ``str`` only one of
            the choices.
        choices: all that it takes; beside numbers where the kind is ``int`` and ``others`` is set.
        others: whether numbers beyond the choices are taken.
    """

    default: Value
    summary: str
    kind: type = str
    choices: tuple[Value, ...] = ()
    others: bool = False

    @property
    def takes(self) -> str:
        """The values in words, for messages and help."""
        listed = ", ".join(str(choice) for choice in self.choices)
        if self.kind is bool:
            return "true or false"
        if self.choices:
            return f"a whole number, or {listed}" if self.others else f"one of {listed}"
        return "a positive number" if self.kind is float else "a positive whole number"

    def read(self, name: str, text: str) -> Value:
        """The value that a text gives, as on a command line. UsageError if it is none."""
        if self.kind is bool and text in ("true", "false"):
            return text == "true"
        for choice in self.choices:
            if text == str(choice):
                return choice
        try:
            value: Value = float(text) if self.kind is float else int(text) if self.kind is int else text
        except ValueError:
            value = text
        return self.check(name, value)

    def check(self, name: str, value: Any) -> Value:
        """The value, if the option takes it. UsageError if not."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if self.kind is bool:
            good = isinstance(value, bool)
        elif any(value == choice and type(value) is type(choice) for choice in self.choices):
            good = True
        elif self.choices and not self.others:
            good = False
        elif self.kind is int:
            good = number and isinstance(value, int) and value > 0
        else:
            good = number and math.isfinite(value) and value > 0
        if not good:
            raise UsageError(f"The option {name} cannot be {value!r}.", fix=f"It takes {self.takes}.")
        checked: Value = float(value) if self.kind is float else value
        return checked


@dataclass(frozen=True)
class Options:
    """The options of an architecture by name."""

    known: Mapping[str, Option] = field(default_factory=dict)

    def filled(self, model: str, given: Mapping[str, Any]) -> dict[str, Value]:
        """All options: those given, checked, and the others' defaults. UsageError names what is not known."""
        for name in given:
            if name not in self.known:
                listed = ", ".join(f"{known} ({option.summary})" for known, option in self.known.items()) or "none"
                raise UsageError(f"{model} has no option {name!r}.", fix=f"Its options: {listed}.")
        return {
            name: option.check(name, given[name]) if name in given else option.default
            for name, option in self.known.items()
        }
