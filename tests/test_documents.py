"""Documents that anyone may have changed: whatever is wrong is one ValueError, before it costs memory."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgex.documents import DEEPEST, MOST_CONTAINERS, MOST_DIGITS, parse_json, parse_toml, read_json, read_text


def nested(depth: int) -> str:
    return '{"a": ' + "[" * depth + "]" * depth + "}"


def test_what_json_says(tmp_path: Path) -> None:
    document = {"a": [1, -2.5, None, True, "é"], "b": {"c": int("9" * MOST_DIGITS), "d": 1e300}}
    file = tmp_path / "a.json"
    file.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    assert read_json(file) == parse_json(json.dumps(document)) == document
    assert parse_json(nested(DEEPEST))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("[1, 2]", "no JSON object"),
        ("3", "no JSON object"),
        ('{"a": NaN}', "NaN, which is no measurement"),
        ('{"a": [-Infinity]}', "-Infinity, which is no measurement"),
        ('{"a": 1e999}', "1e999, which is no measurement"),
        pytest.param('{"a": 1' + "0" * 400 + "}", "an integer of 401 digits", id="401 digits"),
        pytest.param('{"a": -1' + "0" * 5000 + "}", "an integer of 5002 digits", id="5000 digits"),
        pytest.param(nested(DEEPEST + 1), "nested too deeply", id="too deep"),
        pytest.param(nested(500), "nested too deeply", id="500 deep"),
        pytest.param("[" * 100_000, "nested too deeply", id="deeper than Python goes"),
        pytest.param('{"a":' * 100_000, "nested too deeply", id="objects deeper than Python goes"),
        pytest.param("[" + "[]," * MOST_CONTAINERS + "0]", "too large", id="many lists"),
    ],
)
def test_json_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)


def deep_toml(depth: int) -> str:
    return "a = " + "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = ", "Invalid value"),
        pytest.param(deep_toml(DEEPEST + 1), "nested too deeply", id="too deep"),
        pytest.param(deep_toml(10_000), "nested too deeply", id="deeper than Python goes"),
        pytest.param(".".join("a" * 5000) + " = 1", "nested too deeply", id="dotted keys"),
        pytest.param("a = 1" + "0" * 5000, "digits", id="5000 digits"),
    ],
)
def test_toml_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_toml(text)


def test_what_toml_says() -> None:
    assert parse_toml("[a.b]\nc = [1, 2.5, inf]\n") == {"a": {"b": {"c": [1, 2.5, float("inf")]}}}


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a huge file": (lambda file: os.truncate(file, 2**40), "more than 128 MiB"),
    "no UTF-8": (lambda file: file.write_bytes(b'{"a": "\xff"}'), "utf-8"),
    "a folder": (lambda file: (file.unlink(), file.mkdir()), "no regular file"),
    "a pipe, which would never end": (lambda file: (file.unlink(), os.mkfifo(file)), "no regular file"),
    "a device": (lambda file: (file.unlink(), file.symlink_to("/dev/zero")), "no regular file"),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_refused(tmp_path: Path, kind: str) -> None:
    change, message = FILES[kind]
    file = tmp_path / "a.json"
    file.write_text("{}")
    change(file)
    with pytest.raises(ValueError, match=message):
        read_json(file)


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "a.json")


def test_a_smaller_limit(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("a" * (1 << 20))
    assert len(read_text(file, 1 << 20)) == 1 << 20
    file.write_text("a" * ((1 << 20) + 1))
    with pytest.raises(ValueError, match="more than 1 MiB"):
        read_text(file, 1 << 20)
