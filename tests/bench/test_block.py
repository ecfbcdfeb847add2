"""A block of runs of any file: inputs are filled by type and shape, and each block has a process of its own."""

import math
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from foreign import make_runtime, save_identity, save_onnx
from graphs import tiny_xception
from onnx import TensorProto, helper

from edgex.bench.block import Block, Contender, Entry, random_feeds, ratios_of_neighbours
from edgex.errors import ModelError, UsageError
from edgex.runtime.worker import Port
from edgex.write.tflite import tflite_model

ANY = Contender(Path("any.onnx"), "onnxruntime", threads=1)
SIZED = Contender(Path("any.onnx"), "onnxruntime", threads=1, input_size=8)


def measured(contender: Contender, runs: int) -> Block:
    with Entry(contender) as entry:
        return Block(entry.init_ms, entry.first_ms, (entry.burst(runs),))


@pytest.mark.parametrize(
    ("contender", "shape", "filled"),
    [
        (ANY, [1, 4, 4, 3], (1, 4, 4, 3)),
        (ANY, [None, 4, 4, 3], (1, 4, 4, 3)),
        (ANY, [16, 5], (16, 5)),
        (ANY, [], ()),
        (ANY, [None], (1,)),
        (SIZED, [None, None, None, 3], (1, 8, 8, 3)),
        (SIZED, [None, 3, None, None], (1, 3, 8, 8)),
        (SIZED, [1, 4, 4, 3], (1, 4, 4, 3)),
    ],
)
def test_open_sizes_are_filled(contender: Contender, shape: list[int | None], filled: tuple[int, ...]) -> None:
    (feed,) = random_feeds(contender, [Port("x", shape, "float32")])
    assert feed.shape == filled


def test_an_open_size_without_a_value() -> None:
    with pytest.raises(UsageError, match=r"any\.onnx leaves the size of its input x open: \(\?, 4, \?, 3\)") as error:
        random_feeds(ANY, [Port("x", [None, 4, None, 3], "float32")])
    assert "--input-size" in error.value.fix


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("float32", -1, 1),
        ("float16", -1, 1),
        ("float64", -1, 1),
        ("uint8", 0, 255),
        ("int8", -128, 127),
        ("int32", 0, 1),
        ("int64", 0, 1),
        ("bool", 0, 1),
    ],
)
def test_values_suit_the_type(dtype: str, low: int, high: int) -> None:
    (feed,) = random_feeds(ANY, [Port("x", [1, 50, 50, 3], dtype)])
    assert feed.dtype == np.dtype(dtype)
    values = feed.astype(np.float64)
    assert low <= values.min() < low + 0.02 * (high - low)
    assert high - 0.02 * (high - low) < values.max() <= high


def test_inputs_differ_and_come_again() -> None:
    ports = [Port("a", [1, 9], "float32"), Port("b", [1, 9], "float32")]
    first, again = random_feeds(ANY, ports), random_feeds(ANY, ports)
    assert not np.array_equal(first[0], first[1])
    np.testing.assert_array_equal(first, again)


def test_several_inputs_of_several_types(tmp_path: Path) -> None:
    """``table[index] * scale if flag``, as a model of words might begin."""
    ends = [
        helper.make_tensor_value_info("table", TensorProto.FLOAT16, [7, 5]),
        helper.make_tensor_value_info("index", TensorProto.INT64, ["n"]),
        helper.make_tensor_value_info("flag", TensorProto.BOOL, [1]),
        helper.make_tensor_value_info("scale", TensorProto.FLOAT16, []),
    ]
    nodes = [
        helper.make_node("Gather", ["table", "index"], ["row"]),
        helper.make_node("Mul", ["row", "scale"], ["scaled"]),
        helper.make_node("Where", ["flag", "row", "scaled"], ["out"]),
    ]
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT16, None)
    path = save_onnx(tmp_path / "words.onnx", helper.make_graph(nodes, "words", ends, [out]))
    block = measured(Contender(path, "onnxruntime", threads=1), 5)
    assert len(block.steady) == 5


def test_an_input_that_is_no_number(tmp_path: Path) -> None:
    path = save_identity(tmp_path / "words.onnx", [1, 4], TensorProto.STRING)
    with pytest.raises(ModelError, match=r"words\.onnx takes string"):
        measured(Contender(path, "onnxruntime", threads=1), 5)


@pytest.fixture
def slow_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Contender:
    """LiteRT, whose import takes 300 ms, opening a file 80, the first run 60, the others 20; tells its process."""
    code = f"""
import os, time
time.sleep(0.3)
class Interpreter(Interpreter):
    def __init__(self, *arguments, **options):
        time.sleep(0.08)
        super().__init__(*arguments, **options)
        self.pause = 0.06
        with open({str(tmp_path / "processes")!r}, "a") as file:
            print(os.getpid(), file=file)
    def invoke(self):
        time.sleep(self.pause)
        self.pause = 0.02
        super().invoke()
"""
    monkeypatch.setenv("PYTHONPATH", str(make_runtime(tmp_path, code)))
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tflite_model(tiny_xception()))
    return Contender(path, "tflite-runtime", threads=1)


def test_init_first_and_steady_runs_are_told_apart(slow_runtime: Contender) -> None:
    with Entry(slow_runtime) as entry:
        usual = entry.usual_ms
        block = Block(entry.init_ms, entry.first_ms, (entry.burst(4), entry.burst(0), entry.burst(1)))
    assert 80 < block.init_ms < 300, "importing a runtime is not the file's time"
    assert block.first_ms > 60
    assert [len(burst) for burst in block.bursts] == [4, 0, 1]
    assert 20 < min(block.steady) < 40
    assert 20 < usual < 50
    assert math.isfinite(block.steady.sum())


def test_each_block_has_a_fresh_process(slow_runtime: Contender, tmp_path: Path) -> None:
    for _ in range(3):
        measured(slow_runtime, 1)
    assert len(set((tmp_path / "processes").read_text().split())) == 3


def test_between_bursts_a_process_stands_still(slow_runtime: Contender, tmp_path: Path) -> None:
    with Entry(slow_runtime) as entry:
        (pid,) = (tmp_path / "processes").read_text().split()
        entry.burst(1)
        end = time.monotonic() + 2  # on a busy machine the signal takes a moment
        while psutil.Process(int(pid)).status() != psutil.STATUS_STOPPED:
            assert time.monotonic() < end
            time.sleep(0.01)
    assert not psutil.pid_exists(int(pid))


def test_neighbours_are_bursts_of_one_turn() -> None:
    none = np.empty(0)
    a = Block(1.0, 1.0, (np.array([2.0, 4.0, 6.0]), np.array([5.0]), none, np.array([9.0])))
    b = Block(1.0, 1.0, (np.array([8.0]), none, none, np.array([1.0, 5.0])))
    assert ratios_of_neighbours(a, b) == [0.5, 3.0]
