"""Changes to documents of text: JSON by its values, TOML and CSV by their words."""

import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from fuzz.bytewise import FEW, Mutator, mutate_bytes

VALUES = (
    *("null", "true", "false", "0", "1", "-1", "2", "255", "0.5"),
    *("1e-320", "1e308", "1e999", "-0.0", "NaN", "-Infinity"),
    *("2147483648", "9223372036854775808", "1" + 400 * "0", 5000 * "9"),
    *('""', '"x"', '"float32"', '"../x"', '"/x"', '".."', '"\\u0000"', '"\\ud800"', '"(("', '"a{99999999999}"'),
    *(f'"{5000 * "a"}"', f'"{2000 * "a/"}x"', '"\\n\\u202e\\u001b[31m"'),
    *("[]", "{}", "[[]]", "[null]", '["x"]', "[0, 1]", '{"x": null}', '{"class_name": "Lambda", "config": {}}'),
    *("[" * 100_000, 900 * "[" + 900 * "]", 900 * '{"x": ' + "0" + 900 * "}"),
)
"""Of other types than expected, or at the ends of what these can hold."""

COPIES = (1, 1, 2, 20, 500)
LONGEST = 100_000
"""Bytes of all copies of a value."""

Place = tuple[Any, Any]
"""A dict or list, and the key or index of a value in it."""


class _Literals:
    """Stand-ins in a document for text that ``json`` would not write."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def __call__(self, text: str) -> str:
        self._texts.append(text)
        return f"@literal {len(self._texts) - 1}@"

    def dumps(self, document: Any) -> str:
        """The document, compact, with the text in place of each stand-in; that of later ones may hold earlier ones."""
        text = json.dumps(document, separators=(",", ":"))
        for number in reversed(range(len(self._texts))):
            text = text.replace(f'"@literal {number}@"', self._texts[number])
        return text


def mutate_json(random: Random, content: bytes, other: bytes) -> bytes:
    """Change values of a document; bytes, where it is none, and now and then where it is one."""
    if random.random() < 0.05:
        return mutate_bytes(random, content, other)
    try:
        return _mutated(random, [json.loads(content)], [json.loads(other)])
    except (ValueError, RecursionError):
        return mutate_bytes(random, content, other)


def _mutated(random: Random, root: list[Any], donor: list[Any]) -> bytes:
    """Change a document, the one item of ``root``."""
    places, donors, literals = _places(root), _places(donor), _Literals()
    for _ in range(random.choice(FEW)):
        parent, key = random.choice(places)
        if key in parent if isinstance(parent, dict) else key < len(parent):
            random.choice(VALUE_CHANGES)(random, parent, key, donors, literals)
    return literals.dumps(root[0] if root else None).encode()


def _places(root: list[Any]) -> list[Place]:
    """Every value of a document."""
    places: list[Place] = []
    pending = [root]
    while pending:
        parent = pending.pop()
        keys = list(parent) if isinstance(parent, dict) else range(len(parent))
        places += [(parent, key) for key in keys]
        pending += [parent[key] for key in keys if isinstance(parent[key], dict | list)]
    return places


def _replace(random: Random, parent: Any, key: Any, _: list[Place], literals: _Literals) -> None:
    parent[key] = literals(random.choice(VALUES))


def _graft(random: Random, parent: Any, key: Any, donors: list[Place], _: _Literals) -> None:
    giver, place = random.choice(donors)
    parent[key] = _copy(giver[place])


def _remove(_random: Random, parent: Any, key: Any, _: list[Place], __: _Literals) -> None:
    del parent[key]


def _rename(random: Random, parent: Any, key: Any, donors: list[Place], _: _Literals) -> None:
    if isinstance(parent, dict):
        names = [place for _, place in donors if isinstance(place, str)]
        parent[random.choice([*names, "", "x"])] = parent.pop(key)


def _say_twice(random: Random, parent: Any, key: Any, _: list[Place], literals: _Literals) -> None:
    """The same key again, which JSON allows and Python reads as the last."""
    if isinstance(parent, dict):
        parent[key] = literals(f"{json.dumps(parent[key])}, {json.dumps(key)}: {random.choice(VALUES)}")


def _repeat(random: Random, parent: Any, key: Any, _: list[Place], __: _Literals) -> None:
    if isinstance(parent, list):
        text = json.dumps(parent[key])
        copies = min(random.choice(COPIES), LONGEST // len(text))
        parent[key:key] = [json.loads(text) for _ in range(copies)]


def _shuffle(random: Random, parent: Any, _key: Any, _: list[Place], __: _Literals) -> None:
    if isinstance(parent, list):
        random.shuffle(parent)


def _adjust(random: Random, parent: Any, key: Any, _: list[Place], literals: _Literals) -> None:
    """A number a little or much changed, a text a little."""
    value = parent[key]
    if isinstance(value, int | float):
        factors: Sequence[Callable[[], Any]] = (
            lambda: value + 1,
            lambda: value - 1,
            lambda: -value,
            lambda: value * 1000,
            lambda: value // 3,
            lambda: str(value),
            lambda: [value],
        )
        parent[key] = random.choice(factors)()
    elif isinstance(value, str):
        changed = mutate_bytes(random, value.encode("utf-8", "replace"), b"/../ \0\n\"'{}")
        parent[key] = changed.decode("utf-8", "replace")
    else:
        parent[key] = literals(random.choice(VALUES))


VALUE_CHANGES = (
    *(_replace, _replace, _replace, _adjust, _adjust, _graft, _graft),
    *(_remove, _rename, _say_twice, _repeat, _shuffle),
)


def _copy(value: Any) -> Any:
    return json.loads(json.dumps(value))


WORDS = (
    *("=", ",", ".", "\n", '"', "'", '"""', "#", "[", "]", "[[", "]]", "{", "}", "\0", "\ufeff", "é", "٣"),
    *("true", "0", "-1", "inf", "-inf", "nan", "1e400", "0x10", "1_0", 30 * "9", 5000 * "9", "1979-05-27T07:32:00Z"),
    *('""', '"x"', '"../x"', '"/x"', '"\\u0000"', '"\\ud800"', '"(("', '"a{99999999999}"', f'"{5000 * "a"}"'),
    *("[]", "{}", "[1]", '["x"]', "{x = 1}", "[" * 10_000, 200 * "[" + 200 * "]", "x" + 500 * ".x", "a/" * 2000),
)
WORD = re.compile(r'"[^"\n]*"|[\w+-]+|\s+|.', re.DOTALL)


def mutate_words(*more: str) -> Mutator:
    """A mutator of text; ``more`` are words that its readers look for."""
    words = (*WORDS, *more, *more)

    def mutate(random: Random, content: bytes, other: bytes) -> bytes:
        if random.random() < 0.1:
            return mutate_bytes(random, content, other)
        parts, lent = (WORD.findall(text.decode("utf-8", "replace")) for text in (content, other))
        for _ in range(random.choice(FEW)):
            start = random.randrange(len(parts) + 1)
            end = min(len(parts), start + random.choice((1, 1, 1, 3, 20)))
            match random.choice(("replace", "replace", "insert", "remove", "repeat", "splice")):
                case "replace":
                    parts[start : start + 1] = [random.choice(words)]
                case "insert":
                    parts[start:start] = [random.choice(words)]
                case "remove":
                    del parts[start:end]
                case "repeat":
                    parts[start:start] = parts[start:end] * random.choice((1, 1, 2, 50))
                case "splice":
                    begin = random.randrange(len(lent) + 1)
                    parts[start:end] = lent[begin : begin + random.choice((1, 3, 20))]
        return "".join(parts).encode()

    return mutate
