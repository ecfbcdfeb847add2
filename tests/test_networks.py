"""MODEL is a file before it is anything else, and then a name."""

from pathlib import Path

import pytest
from command import edgex, refused

from edgex.errors import ExitCode, UsageError
from edgex.graph.read import read_model
from edgex.inspection import inspect_graph, inspect_model
from edgex.networks import of_zoo, read_network
from edgex.resources import demo_model
from edgex.zoo import MODELS


def test_a_name_of_the_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert of_zoo(Path("xception"))
    graph = read_network(Path("xception"), input_size=71)
    assert graph.shapes[graph.inputs[0].name] == (71, 71, 3)
    assert inspect_graph(graph).parameters == 22_910_480


@pytest.mark.parametrize("word", ["xception", "demo"])
def test_a_file_wins_over_a_name(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(word).write_bytes(demo_model().read_bytes())
    assert not of_zoo(Path(word))
    expected = inspect_graph(read_model(demo_model()))
    assert inspect_model(Path(word)) == expected
    Path(word).write_bytes(b"no model")
    with pytest.raises(Exception, match=word):
        read_network(Path(word))


@pytest.mark.parametrize("word", ["xception", "demo"])
def test_a_folder_is_no_model(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(word).mkdir()
    assert read_network(Path(word), input_size=71).name == "xception"


def test_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert inspect_model(Path("demo")) == inspect_model(demo_model())


def test_an_unknown_word_is_told_the_names() -> None:
    with pytest.raises(UsageError, match="xeption is no file, and no network of the zoo") as caught:
        read_network(Path("xeption"))
    assert all(name in caught.value.fix for name in MODELS)


@pytest.mark.parametrize("path", ["xeption.keras", "models/xception"])
def test_what_looks_like_a_path_is_a_path(path: str) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read_network(Path(path))


def test_inspect_takes_names(tmp_path: Path) -> None:
    document = edgex("inspect", "xception", "--json", cwd=tmp_path).document
    assert (document["parameters"], round(document["macs"] / 1e9, 2)) == (22_910_480, 8.36)
    refused(edgex("inspect", "xeption", cwd=tmp_path), ExitCode.USAGE, "xeption", "xception, inception_v3")


def test_what_needs_tensorflow_says_nothing_of_it(tmp_path: Path) -> None:
    assert edgex("inspect", "inception_v3", cwd=tmp_path).err == ""
