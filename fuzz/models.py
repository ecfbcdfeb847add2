"""Changes to model files, by the fields of their formats."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from random import Random
from typing import Any

import numpy as np

from fuzz.bytewise import FEW, NUMBERS, mutate_bytes
from fuzz.documents import mutate_json

INTEGERS = (*NUMBERS, -1, -2, 3, 4, 16)
FLOATS = (0.0, -0.0, -1.0, 1e-45, 1e-38, 3e38, float("inf"), float("nan"))
WORDS = (
    *("", "x", "../x", "\0", 5000 * "a"),
    *("Identity", "Cast", "QuantizeLinear", "DequantizeLinear", "Constant", "Conv"),
)
TIMES = (1, 1, 3, 500)

CONFIGURATION = b'{"class_name"'
TFLITE_MARK = b"TFL3"


def mutate_hdf5(random: Random, content: bytes, other: bytes) -> bytes:
    """The model's configuration, which stands in an ``.h5`` as text and keeps its length there; or bytes."""
    start, lent = content.find(CONFIGURATION), other.find(CONFIGURATION)
    if start < 0 or lent < 0 or random.random() < 0.5:
        return mutate_bytes(random, content, other)
    end, lent_end = start + _json_length(content[start:]), lent + _json_length(other[lent:])
    changed = mutate_json(random, content[start:end], other[lent:lent_end])
    if len(changed) > end - start:
        return mutate_bytes(random, content, other)
    return content[:start] + changed.ljust(end - start) + content[end:]


def _json_length(content: bytes) -> int:
    """Bytes of the document that these begin with; 0 if there is none."""
    try:
        return json.JSONDecoder().raw_decode(content.decode("latin-1"))[1]
    except (ValueError, RecursionError):
        return 0


def mutate_onnx(random: Random, content: bytes, other: bytes) -> bytes:
    """Fields of the messages that a model is made of; or bytes."""
    from google.protobuf.message import DecodeError
    from onnx import load_model_from_string

    if random.random() < 0.2:
        return mutate_bytes(random, content, other)
    try:
        model, donor = (load_model_from_string(each) for each in (content, other))
    except DecodeError:
        return mutate_bytes(random, content, other)
    donors = list(_messages(donor))
    names = [name for node in model.graph.node for name in (*node.input, *node.output)]
    for _ in range(random.choice(FEW)):
        _change_message(random, random.choice(list(_messages(model))), donors, names)
    return bytes(model.SerializeToString())


def _messages(message: Any) -> Iterator[Any]:
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if field.is_repeated else [value]:
                yield from _messages(part)


def _change_message(random: Random, message: Any, donors: Sequence[Any], names: Sequence[str]) -> None:
    fields = message.ListFields()
    same = [donor for donor in donors if donor.DESCRIPTOR is message.DESCRIPTOR]
    if same and (not fields or random.random() < 0.2):
        message.MergeFrom(random.choice(same))
        return
    if not fields:
        return
    field, value = random.choice(fields)
    if random.random() < 0.15:
        message.ClearField(field.name)
    elif field.is_repeated:
        _change_items(random, value, field.message_type is not None, names)
    elif field.message_type is None:
        with suppress(TypeError, ValueError):  # beyond the range of the field
            setattr(message, field.name, _other_scalar(random, value, names))


def _change_items(random: Random, items: Any, are_messages: bool, names: Sequence[str]) -> None:
    """Leave out, repeat or change one of several values."""
    at = random.randrange(len(items))
    match random.choice(("remove", "repeat", "change")):
        case "remove":
            del items[at]
        case "repeat":
            items.extend([items[at]] * random.choice(TIMES))
        case "change" if are_messages:
            items[at].CopyFrom(random.choice(items))
        case "change":
            with suppress(TypeError, ValueError):
                items[at] = _other_scalar(random, items[at], names)


def _other_scalar(random: Random, value: Any, names: Sequence[str]) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return random.choice((value + 1, value - 1, -value, *INTEGERS))
        case float():
            return random.choice((-value, value * 1e6, *FLOATS))
        case str():
            return random.choice((*names, *names, *WORDS)) if random.random() < 0.9 else f"{value}x"
        case bytes():
            return mutate_bytes(random, value, value)
    return value


def mutate_tflite(random: Random, content: bytes, other: bytes) -> bytes:
    """Fields of the tables that a model is made of; or bytes."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    if content[4:8] != TFLITE_MARK or random.random() < 0.3:
        return mutate_bytes(random, content, other)
    try:
        model = schema.ModelT.InitFromPackedBuf(content)
        for _ in range(random.choice(FEW)):
            _change_table(random, random.choice(list(_tables(model))))
        builder = flatbuffers.Builder(len(content))
        builder.Finish(model.Pack(builder), TFLITE_MARK)
        return bytes(builder.Output())
    except Exception:  # noqa: BLE001  whatever the generated classes raise where a change makes no sense to them
        return mutate_bytes(random, content, other)


def _tables(table: Any) -> Iterator[Any]:
    yield table
    for value in vars(table).values():
        for part in value if isinstance(value, list) else [value]:
            if hasattr(part, "__dict__"):
                yield from _tables(part)


def _change_table(random: Random, table: Any) -> None:
    name, value = random.choice(list(vars(table).items()))
    match value:
        case int() | float() | str() | bytes():
            value = _other_scalar(random, value, ())
        case np.ndarray() if value.size:
            at = random.randrange(value.size)
            match random.choice(("remove", "repeat", "change")):
                case "remove":
                    value = np.delete(value, at)
                case "repeat":
                    value = np.repeat(value, random.choice(TIMES))
                case "change":
                    value = value.copy()
                    value[at] = _other_scalar(random, value[at].item(), ())
        case list() if value:
            at = random.randrange(len(value))
            match random.choice(("remove", "repeat", "change")):
                case "remove":
                    value = value[:at] + value[at + 1 :]
                case "repeat":
                    value = value + [value[at]] * random.choice(TIMES)
                case "change":
                    value = [*value[:at], random.choice(value), *value[at + 1 :]]
        case _:
            value = None
    setattr(table, name, value)
