"""An INT8 file of the demo in tflite-runtime, in a Python of its own: its numpy and that of TensorFlow cannot meet."""

from pathlib import Path

import pytest
from command import edgex

from edgex.runtime import describe_python

PYTHON = Path(__file__).resolve().parents[2] / ".venv-tflite" / "bin" / "python"
FILE = "out/xception-digits.int8.tflite"

pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason="no .venv-tflite here: make test makes it, on Linux with Python 3.11"
)


def test_the_environment_has_it_and_no_other() -> None:
    _, runtimes = describe_python(PYTHON)
    assert runtimes == {"tflite-runtime": "2.14.0"}


def test_eval(demo_project: Path) -> None:
    arguments = ("eval", FILE, "--data", "digits", "--json")
    there, here = (
        edgex(*arguments, *python, cwd=demo_project).document["results"][0] for python in (("--python", PYTHON), ())
    )
    assert (there["runtime"], here["runtime"]) == ("tflite-runtime", "litert")
    assert there["images"] == here["images"] == 500
    assert there["top1"] > 0.98
    assert abs(there["top1"] - here["top1"]) <= 0.01


def test_bench(demo_project: Path) -> None:
    outcome = edgex("bench", FILE, "--python", PYTHON, "--runs", 20, "--threads", 1, "--json", cwd=demo_project)
    (result,) = outcome.document["results"]
    assert (result["runtime"], result["runs"], result["threads"]) == ("tflite-runtime", 20, 1)
    assert 0 < result["median_ms"] <= result["p90_ms"]


def test_bench_on_an_image(demo_project: Path) -> None:
    arguments = ("--python", PYTHON, "--runs", 2, "--data", "digits", "--json")
    outcome = edgex("bench", FILE, *arguments, cwd=demo_project)
    assert outcome.document["results"][0]["runtime"] == "tflite-runtime"
