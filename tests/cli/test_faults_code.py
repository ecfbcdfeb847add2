"""Row 3 of the faults to survive: no model file runs anything. What it would run writes a canary file."""

import base64
import json
import marshal
import pickle
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import FunctionType
from typing import Any

import h5py
import numpy as np
import pytest
from command import edgex
from spoilt_demo import archived, demo_members, refused_cleanly


@pytest.fixture
def canary(folder: Path) -> Path:
    return folder / "canary"


class Payload:
    """Writes the canary when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self.canary), "w")


def bytecode(canary: Path) -> str:
    """A function that writes the canary when it is called, as Keras saves it."""
    code = compile(f"lambda x: [x, open({str(canary)!r}, 'w').close()][0]", "lambda", "eval").co_consts[0]
    return base64.b64encode(marshal.dumps(code)).decode()


def sings(canary: Path) -> bool:
    """Whether the canary was written; it is gone then."""
    try:
        canary.unlink()
    except FileNotFoundError:
        return False
    return True


def lambda_of_keras_2(canary: Path) -> dict[str, Any]:
    image = {"class_name": "InputLayer", "config": {"name": "image", "batch_input_shape": [None, 8, 8, 3]}}
    function = {"function": [f"{bytecode(canary)}\n", None, None], "function_type": "lambda", "module": "__main__"}
    wrapped = {"class_name": "Lambda", "config": {"name": "wrapped", "arguments": {}, **function}}
    return {"class_name": "Sequential", "config": {"name": "model", "layers": [image, wrapped]}}


def lambda_of_keras_3(canary: Path) -> dict[str, Any]:
    image = {
        "module": "keras.layers",
        "class_name": "InputLayer",
        "config": {"name": "image", "batch_shape": [None, 8, 8, 3]},
        "registered_name": None,
    }
    function = {
        "class_name": "__lambda__",
        "config": {"code": bytecode(canary), "defaults": None, "closure": None},
        "module": "builtins",
        "registered_name": "function",
    }
    wrapped = {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"name": "wrapped", "function": function, "arguments": {}},
        "registered_name": None,
    }
    return {"class_name": "Sequential", "config": {"name": "model", "layers": [image, wrapped]}}


LAMBDAS = {"2.15.0": lambda_of_keras_2, "3.4.1": lambda_of_keras_3}


def h5_model(path: Path, document: dict[str, Any], version: str) -> Path:
    """A model without weights, as ``model.save("model.h5")`` lays it out."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(document)
        file.attrs["keras_version"] = version
        file.attrs["backend"] = "tensorflow"
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [layer["config"]["name"] for layer in document["config"]["layers"]]
        for layer in document["config"]["layers"]:
            group.create_group(layer["config"]["name"]).attrs["weight_names"] = np.array([], "S1")
    return path


def test_the_payloads_are_live(canary: Path) -> None:
    FunctionType(marshal.loads(base64.b64decode(bytecode(canary))), {})(None)
    assert sings(canary)
    pickle.loads(pickle.dumps(Payload(canary))).close()
    assert sings(canary)


@pytest.mark.parametrize("version", LAMBDAS)
def test_3_lambda_in_h5(folder: Path, canary: Path, version: str) -> None:
    """Refused by name as what it is, and as something else under the name of the other format."""
    model = h5_model(folder / "model.h5", LAMBDAS[version](canary), version)
    refused_cleanly(model, "'wrapped'", "Lambda")
    refused_cleanly(model.rename(folder / "model.keras"), "HDF5")
    assert not sings(canary)


def test_3_lambda_in_an_archive_of_keras_2(folder: Path, canary: Path) -> None:
    document = json.dumps(lambda_of_keras_2(canary)).encode()
    model = archived(folder / "model.keras", demo_members() | {"config.json": document})
    refused_cleanly(model, "'wrapped'", "Lambda")
    assert not sings(canary)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_3_pickle_renamed(folder: Path, canary: Path, suffix: str) -> None:
    model = folder / f"model{suffix}"
    model.write_bytes(pickle.dumps(Payload(canary)))
    refused_cleanly(model, "pickle")
    assert not sings(canary)


@pytest.mark.parametrize("member", ["config.json", "metadata.json", "model.weights.h5"])
def test_3_pickle_in_place_of_a_member(folder: Path, canary: Path, member: str) -> None:
    model = archived(folder / "model.keras", demo_members() | {member: pickle.dumps(Payload(canary))})
    refused_cleanly(model, "damaged")
    assert not sings(canary)


def test_3_pickles_beside_the_members(folder: Path, canary: Path) -> None:
    objects = BytesIO()
    np.savez(objects, weights=np.array([Payload(canary)], dtype=object))
    payloads = {"assets/state.pkl": pickle.dumps(Payload(canary)), "model.weights.npz": objects.getvalue()}
    model = archived(folder / "model.keras", demo_members() | payloads)
    assert edgex("inspect", model.name, cwd=folder).code == 0
    refused_cleanly(archived(model, demo_members() | payloads | {"model.weights.h5": objects.getvalue()}), "damaged")
    assert not sings(canary)
    np.load(BytesIO(objects.getvalue()), allow_pickle=True)["weights"][0].close()
    assert sings(canary)
