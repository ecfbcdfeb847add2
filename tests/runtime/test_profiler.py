"""The profiling worker stands alone, and tells which operator of a file each event of LiteRT belongs to."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from graphs import tiny_xception

from edgex.errors import ModelError
from edgex.runtime import Worker, installed_runtimes, profiler
from edgex.runtime.litert_events import Event, ProfiledModel
from edgex.runtime.profiler import interquartile_mean, layer_name, match_operators
from edgex.write.tflite import tflite_model

CONVOLUTION, POOL, RESHAPE, CLAMP = "Convolution (NHWC, F32) IGEMM", "Max Pooling", "Static Reshape (NC)", "Clamp (NC)"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "tiny.tflite"
    path.write_bytes(tflite_model(tiny_xception()))
    return path


@pytest.mark.parametrize(
    ("tags", "codes", "places"),
    [
        ([CONVOLUTION, POOL, CONVOLUTION], ["CONV_2D", "MAX_POOL_2D", "CONV_2D"], [0, 1, 2]),
        # XNNPACK adds a reshape after the mean
        ([CONVOLUTION, "Mean", RESHAPE, "Softmax"], ["CONV_2D", "MEAN", "SOFTMAX"], [0, 1, None, 2]),
        # XNNPACK pads in the convolution
        ([CLAMP, CONVOLUTION, CLAMP], ["RELU", "PAD", "CONV_2D", "RELU"], [None, 2, 3]),
        # Two of the file became one: which is not sure, so no names
        ([CONVOLUTION, POOL], ["CONV_2D", "CONV_2D", "MAX_POOL_2D"], [None, None]),
        ([CONVOLUTION, ("CUMSUM", 1), CONVOLUTION], ["CONV_2D", "CUMSUM", "CONV_2D"], [0, 1, 2]),
        # A convolution that XNNPACK left to TFLite is not one of its own
        ([("CONV_2D", 0), CONVOLUTION, POOL], ["CONV_2D", "CONV_2D", "MAX_POOL_2D"], [0, 1, 2]),
    ],
)
def test_events_are_matched_with_operators(
    tags: list[str | tuple[str, int]], codes: list[str], places: list[int | None]
) -> None:
    events = [Event(tag, None, 1.0) if isinstance(tag, str) else Event(*tag, 1.0) for tag in tags]
    assert match_operators(events, codes) == places


@pytest.mark.parametrize(
    ("written", "layer"),
    [
        ("block5_sepconv2.depthwise.raw", "block5_sepconv2.depthwise"),
        ("avg_pool.raw.keepdims", "avg_pool"),
        ("predictions.softmax", "predictions.softmax"),
        ("model.0.conv.weight", "model.0.conv.weight"),
    ],
)
def test_what_writers_append_is_no_part_of_a_layer_name(written: str, layer: str) -> None:
    assert layer_name(written) == layer


def test_disturbed_runs_do_not_count() -> None:
    runs = np.array([[1.0, 3.0], [2.0, 90.0], [1.0, 4.0], [80.0, 4.0], [1.5, 4.0], [1.5, 4.5], [1.0, 4.0], [2.0, 4.0]])
    assert interquartile_mean(runs) == pytest.approx([1.5, 4.0])


def test_the_program_needs_nothing_of_edgex() -> None:
    """It ends at once where there are no requests; the memory allowed is its argument."""
    program = f"""
import runpy, sys
sys.modules["edgex"] = None
sys.path.insert(0, {str(Path(profiler.__file__).parent)!r})
sys.argv[1:] = ["{1 << 34}"]
runpy.run_path({profiler.__file__!r}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", program], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_program_answers_what_a_worker_does() -> None:
    with Worker(program=Path(profiler.__file__)) as worker:
        answer, _ = worker.ask("describe", 60)
    assert sorted(answer["runtimes"]) == sorted(installed_runtimes())


def test_an_input_of_another_size_is_refused(tiny: Path) -> None:
    """As it would be if the file left it open."""
    image = np.zeros((1, 48, 48, 3), np.float32)
    with Worker(program=Path(profiler.__file__)) as worker:
        worker.open(tiny, "litert", 1)
        worker.ask("warm", 60, [image], seconds=0)
        with pytest.raises(ModelError, match="open sizes of the input"):
            worker.ask("profile", 60, [image], path=str(tiny), runtime="litert", threads=1, runs=3)


def test_an_old_litert_is_refused(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its version stands in, because two of them cannot be installed at once."""
    monkeypatch.setattr(metadata, "version", lambda _name: "2.1.4")
    with pytest.raises(ImportError, match=r"2\.2 or newer, and this is 2\.1\.4"):
        ProfiledModel(str(tiny), 1, {})


def test_litert_tells_the_same_operators_each_run(tiny: Path) -> None:
    image = np.zeros((1, 32, 32, 3), np.float32)
    model = ProfiledModel(str(tiny), 1, {"input": image})
    first, second = ([(event.tag, event.node) for event in model.run()] for _ in range(2))
    assert first == second
    assert sum(tag.startswith(("Convolution", "Fully Connected")) for tag, _ in first) > 5
