"""``edgex compare``, as a user runs it. The keys are a promise to scripts."""

from pathlib import Path

import pytest
from command import edgex, refused

from edgex.errors import ExitCode
from edgex.render.plot import bars

FAST = ("--runtime", "onnxruntime", "--threads", 1, "--seconds", 0.01)
RESULT = {
    *("name", "weights", "input", "parameters", "trainable_parameters", "macs", "regular_macs", "bytes"),
    *("preprocessing", "int8", "latencies"),
}


def test_real_architectures(folder: Path) -> None:
    """What the papers say of parameters, and what the graphs say of multiply-accumulates."""
    names = ("xception", "inception_v3")
    document = edgex("compare", *names, "--no-latency", "--json", cwd=folder).document
    assert document["schema"] == "edgex.compare/1"
    xception, inception = document["results"]
    assert (xception["name"], inception["name"]) == names
    assert (xception["parameters"], inception["parameters"]) == (22_910_480, 23_851_784)
    for result in document["results"]:
        assert result.keys() == RESULT
        alone = edgex("inspect", result["name"], "--json", cwd=folder).document
        assert all(result[key] == alone[key] for key in ("parameters", "macs", "regular_macs", "bytes"))
        assert (result["weights"], result["input"]) == ("fresh", [299, 299, 3])
    assert [round(result["macs"] / 1e9, 2) for result in document["results"]] == [8.36, 5.71]
    # Inception has no separable convolution: with regular ones it is not Xception's cousin but its small sibling
    assert inception["regular_macs"] == inception["macs"] < xception["regular_macs"] / 10


def test_as_json(folder: Path) -> None:
    outcome = edgex("compare", "demo", "demo", *FAST, "--chart", "chart.svg", "--json", cwd=folder)
    document = outcome.document
    assert document.keys() == {"schema", "results", "ratios", "measure", "images", "notes", "warnings"}
    for result in document["results"]:
        assert [artifact.keys() for artifact in result["int8"]] == [{"precision", "format", "bytes", "cost"}] * 2
        (latency,) = result["latencies"]
        assert (latency["format"], latency["runtime"], latency["threads"]) == ("onnx", "onnxruntime", 1)
        assert 0 < latency["low_ms"] <= latency["median_ms"] <= latency["high_ms"]
    (ratio,) = document["ratios"]
    assert {"a", "b", "a_runtime", "b_runtime", "ratio", "low", "high"} <= ratio.keys()
    assert (ratio["a"], ratio["b"]) == ("demo", "demo")
    assert ratio["low"] <= ratio["ratio"] <= ratio["high"]
    assert (folder / "chart.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_for_people(folder: Path) -> None:
    arguments = ("--calib", "digits", "--data", "digits", *FAST)
    outcome = edgex("compare", "demo", "demo", *arguments, cwd=folder)
    assert outcome.code == 0
    assert "commonest class" not in outcome.err
    for words in (
        "115,922",
        "2.47 M",
        "if regular",
        "464 kB",
        "int8.onnx",
        "at most",
        "on 500 images",
        "±",
        "xception and stretch for demo (1)",
    ):
        assert words in outcome.out
    assert "demo (1) / demo (2), int8.onnx in onnxruntime" in outcome.out
    assert "not measured" not in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 120


def test_what_was_not_measured_is_not_claimed(folder: Path) -> None:
    out = edgex("compare", "demo", "xception", "--no-latency", cwd=folder).out
    assert "not measured" in out
    assert "untrained" in out
    assert "at most" not in out


def test_preprocessing_of_the_settings(folder: Path) -> None:
    """As the command line says, else edgex.toml; random images are read likewise."""
    (folder / "edgex.toml").write_text('preprocess = "imagenet"\nresize = "pad"\n')
    for given, scale in (((), "imagenet"), (("--preprocess", "caffe"), "caffe")):
        (result,) = edgex("compare", "demo", *FAST, *given, "--json", cwd=folder).document["results"]
        assert result["preprocessing"] == {"size": [48, 48], "channels": 3, "scale": scale, "resize": "pad"}
    (result,) = edgex("compare", "demo", "--no-latency", "--json", cwd=folder).document["results"]
    assert result["preprocessing"] is None
    refused(edgex("compare", "demo", "--preprocess", "x", cwd=folder), ExitCode.USAGE, "--preprocess 'x'", "imagenet")


def test_refusals(folder: Path) -> None:
    refused(edgex("compare", "xeption", cwd=folder), ExitCode.USAGE, "xeption", "xception, inception_v3")
    refused(edgex("compare", "demo", "--data", "digits", cwd=folder), ExitCode.USAGE, "--data", "--calib")
    refused(edgex("compare", "demo", "--chart", "chart.doc", cwd=folder), ExitCode.USAGE, "chart.doc", ".svg")
    outcome = edgex("compare", "demo", "--no-latency", "--chart", "no/chart.svg", cwd=folder)
    refused(outcome, ExitCode.INPUT_OUTPUT, "no")
    assert edgex("compare", cwd=folder).code == ExitCode.USAGE


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_bars_in_a_terminal(width: int) -> None:
    labels, values = ["a model", "another one"], [2.5, 10.0]
    drawn = bars(labels, values, "ms", width)
    if width < 32:
        assert drawn == ""
        return
    lines = drawn.splitlines()
    assert max(map(len, lines)) <= width
    assert [line.split()[-2:] for line in lines] == [["2.5", "ms"], ["10", "ms"]]
    assert lines[1].count("█") == 4 * lines[0].count("█") or lines[0].count("█") != lines[1].count("█")
