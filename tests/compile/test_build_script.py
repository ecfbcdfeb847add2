"""``build-engine.sh``, run in ``sh`` against a stand-in for ``trtexec``; see :mod:`build_machines`."""

import json
import os
import shutil
import signal
import subprocess
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from build_machines import (
    FALLBACK,
    HEADERS,
    SHELL,
    SHELLCHECK,
    Device,
    Quantized,
    changed_demo,
    left,
    program,
    script_of,
)

from edgex.compile.tensorrt import OPSET_READERS, write_build_script
from edgex.errors import ModelError, OutputError
from edgex.manifest import read_manifest, verify
from edgex.pipeline import QuantizeOptions, export, quantize
from edgex.resources import demo_model, targets_dir
from edgex.target import load_target

# What trtexec is told

FP16 = "xception-digits.fp16.onnx"
FP32 = "xception-digits.fp32.onnx"
INT8 = "xception-digits.int8.onnx"


@pytest.mark.parametrize(
    ("version", "int8", "fp16", "build"),
    [
        ("8.0.1", "--int8 --fp16", "--fp16", "--workspace=1024 --buildOnly"),
        ("8.2.5", "--int8 --fp16", "--fp16", "--workspace=1024 --buildOnly"),
        ("8.5.2", "--int8 --fp16", "--fp16", "--buildOnly"),
        ("8.6.1", "--int8 --fp16", "--fp16", "--skipInference"),
        ("10.3.0", "--int8 --fp16", "--fp16", "--skipInference"),
        ("10.11.0", "--int8 --fp16", "--fp16", "--skipInference"),
        ("10.12.0", "--stronglyTyped", "--stronglyTyped", "--skipInference"),
        ("10.13.3", "--stronglyTyped", "--stronglyTyped", "--skipInference"),
        ("10.16.2", "--stronglyTyped", "--stronglyTyped", "--skipInference"),
        ("11.0.0", "", "", "--skipInference"),
        ("11.1.0", "", "", "--skipInference"),
    ],
)
def test_the_flags_of_each_generation(
    version: str, int8: str, fp16: str, build: str, quantized: Quantized, device: Device, tmp_path: Path
) -> None:
    directory = shutil.copytree(quantized("jetson", "4.6.1"), tmp_path / "out")
    script = directory / "build-engine.sh"
    fp32 = fp16.replace("--fp16", "")
    for file, precision in ((INT8, int8), (FP16, fp16), (FP32, fp32)):
        run = device.build(script, file, version=version)
        assert run.code == 0, run.err
        work = next(told for told in run.arguments if told.startswith("--saveEngine="))[len("--saveEngine=") :]
        folder = work.removesuffix("/engine")
        assert run.arguments == [
            f"--onnx={file}",
            "--shapes=input_layer:1x48x48x3",
            f"--saveEngine={folder}/engine",
            f"--timingCacheFile={folder}/timing.cache",
            *precision.split(),
            *build.split(),
        ]
        assert f"TensorRT {version} in {device.path / 'trtexec'}" in run.out
        engine = f"{file.removesuffix('.onnx')}.batch1.trt{version}.engine"
        assert (directory / engine).read_text() == f"engine {HEADERS[version]}\n"
        assert run.out.endswith(f"build-engine.sh: wrote {directory.resolve() / engine}\n")
    cache = f"trt{version}.timing.cache"
    assert (directory / cache).read_text() == "timings\n" * 3
    endings = (f"{name}.batch1.trt{version}.engine" for name in ("int8", "fp16", "fp32"))
    assert left(script) == {cache, *(f"xception-digits.{ending}" for ending in endings)}


def test_without_an_argument_it_builds_the_main_artifact(jetson: Path, device: Device, tmp_path: Path) -> None:
    assert f"--onnx={INT8}" in device.build(jetson, version="10.3.0").arguments
    export(demo_model(), load_target("jetson"), tmp_path / "floats")
    assert f"--onnx={FP16}" in device.build(script_of(tmp_path / "floats"), version="10.3.0").arguments


def test_a_model_that_is_partly_float_counts_as_int8(device: Device, tmp_path: Path) -> None:
    options = QuantizeOptions(calib_count=4, keep_float="^block1_")
    quantize(demo_model(), load_target("jetson"), "digits", tmp_path / "out", options)
    told = device.build(script_of(tmp_path / "out"), version="10.3.0").arguments
    assert "--onnx=xception-digits.mixed.onnx" in told
    assert told[4:] == ["--int8", "--fp16", "--skipInference"]


@pytest.mark.parametrize("version", ["8.5.2", "10.3.0", "10.13.3", "11.0.0"])
def test_sparse_weights(version: str, quantized: Quantized, device: Device, tmp_path: Path) -> None:
    directory = shutil.copytree(quantized("jetson", pruned=True), tmp_path / "out")
    for precision in ("int8", "fp16"):
        told = device.build(directory / "build-engine.sh", f"pruned.{precision}.onnx", version=version).arguments
        assert told.count("--sparsity=enable") == 1
    told = device.build(directory / "build-engine.sh", "pruned.fp32.onnx", version=version).arguments
    assert told.count("--sparsity=enable") == 1


def test_a_board_that_gains_nothing_from_sparse_weights(quantized: Quantized, device: Device, tmp_path: Path) -> None:
    directory = shutil.copytree(quantized("jetson", pruned=True), tmp_path / "out")
    script = script_of(directory, load_target("jetson", jetpack="4.6.1"))
    assert "--sparsity=enable" not in device.build(script, version="8.5.2").arguments


def test_the_batch(jetson: Path, device: Device) -> None:
    run = device.build(jetson, version="10.3.0", BATCH="16")
    assert "--shapes=input_layer:16x48x48x3" in run.arguments
    assert "xception-digits.int8.batch16.trt10.3.0.engine" in left(jetson)


@pytest.mark.parametrize("batch", ["0", "08", "-1", "two", "1x3", "1 2", "1;ls"])
def test_no_batch(batch: str, jetson: Path, device: Device) -> None:
    run = device.build(jetson, version="10.3.0", BATCH=batch)
    assert (run.code, run.arguments) == (2, [])
    assert f"BATCH={batch} is not a number of images.\n  Give" in run.err


# Which TensorRT


def test_another_tensorrt_than_the_boards_is_warned_of(jetson: Path, device: Device) -> None:
    assert device.build(jetson, version="10.3.0").err == ""
    for version in ("8.6.1", "10.13.3", "11.0.0"):
        run = device.build(jetson, version=version)
        assert run.code == 0
        cause = "these files are for jetson --jetpack 6.2, which has TensorRT 10.3; this is"
        assert run.err == f"build-engine.sh: warning: {cause} {version}.\n"


def test_a_desktop_may_have_any_tensorrt(quantized: Quantized, device: Device, tmp_path: Path) -> None:
    directory = shutil.copytree(quantized("gpu-desktop"), tmp_path / "out")
    for version in ("8.6.1", "11.0.0"):
        run = device.build(directory / "build-engine.sh", version=version)
        assert (run.code, run.err) == (0, "")


def test_a_tensorrt_that_cannot_read_the_file_is_refused(
    jetson: Path, quantized: Quantized, device: Device, tmp_path: Path
) -> None:
    run = device.build(jetson, version="8.2.5")
    assert (run.code, run.arguments) == (6, [])
    assert f"{INT8} has opset 17, which TensorRT reads from 8.4 on; this is 8.2.5.\n  Write" in run.err
    old = shutil.copytree(quantized("jetson", "4.6.1"), tmp_path / "old") / "build-engine.sh"
    run = device.build(old, version="7.2.3")
    assert (run.code, run.arguments) == (6, [])
    assert "TensorRT 7.2.3 does not take quantized ONNX files.\n  Install TensorRT 8" in run.err
    assert left(jetson) == left(old) == set()


def test_every_board_reads_what_is_written_for_it() -> None:
    """The table of opsets agrees with the targets."""
    numbers = {opset: tuple(map(int, version.split("."))) for opset, version in OPSET_READERS}
    assert sorted(numbers) == list(numbers)
    for jetpack in tomllib.loads((targets_dir() / "jetson.toml").read_text())["jetpack"]:
        profile = load_target("jetson", jetpack=jetpack)
        assert profile.board is not None
        assert profile.onnx.opset_limit is not None
        board = tuple(map(int, profile.board.tensorrt.split(".")))
        assert max(opset for opset, first in numbers.items() if first <= board) == profile.onnx.opset_limit


@pytest.mark.skipif(FALLBACK.exists(), reason=f"there is a real TensorRT in {FALLBACK}")
def test_no_trtexec(jetson: Path, device: Device) -> None:
    (device.path / "trtexec").unlink()
    run = device.build(jetson, version="10.3.0")
    assert run.code == 6
    assert "trtexec is neither in PATH nor in /usr/src/tensorrt/bin.\n  On the device: sudo apt install" in run.err
    assert left(jetson) == set()


def test_trtexec_where_jetpack_puts_it(jetson: Path, device: Device, tmp_path: Path) -> None:
    """With that folder moved, because this machine's is not a test's to fill."""
    (tmp_path / "bin").mkdir()
    (device.path / "trtexec").rename(tmp_path / "bin" / "trtexec")
    text = jetson.read_text()
    assert text.count(f"{FALLBACK}/trtexec") == 2
    jetson.write_text(text.replace(f"{FALLBACK}/trtexec", f"{tmp_path}/bin/trtexec"))
    run = device.build(jetson, version="10.3.0")
    assert run.code == 0
    assert f"TensorRT 10.3.0 in {tmp_path}/bin/trtexec" in run.out


@pytest.mark.parametrize("says", ["cannot open libnvinfer.so.8", "[TensorRT vNext]", ""])
def test_a_trtexec_that_does_not_work(says: str, jetson: Path, device: Device) -> None:
    program(device.path / "trtexec", f"echo '{says}' >&2; exit 127")
    run = device.build(jetson, version="10.3.0")
    assert run.code == 6
    assert run.err.startswith(f"{says}\nbuild-engine.sh: ")
    assert "does not say which TensorRT it is" in run.err
    assert left(jetson) == set()


# Whole or not at all


def test_nothing_is_left_of_a_build_that_fails(jetson: Path, device: Device) -> None:
    run = device.build(jetson, version="10.3.0", TRT_EXIT="3")
    assert run.code == 3
    assert run.arguments
    assert "trtexec ended with exit code 3 and says why above; there is no engine.\n  A GPU without" in run.err
    assert left(jetson) == set()


def test_an_engine_stays_when_the_next_build_fails(jetson: Path, device: Device) -> None:
    assert device.build(jetson, version="10.3.0").code == 0
    before = {name: (jetson.parent / name).read_bytes() for name in left(jetson)}
    assert len(before) == 2
    assert device.build(jetson, version="10.3.0", TRT_EXIT="1").code == 1
    assert {name: (jetson.parent / name).read_bytes() for name in left(jetson)} == before


def test_a_success_without_an_engine(jetson: Path, device: Device) -> None:
    run = device.build(jetson, version="10.3.0", TRT_FORGETS="yes")
    assert run.code == 8
    assert "trtexec wrote no engine, though it says that it succeeded." in run.err
    assert left(jetson) == set()


@pytest.mark.parametrize(("tool", "what"), [("mkdir", ""), ("cp", ""), ("mv", ".cache"), ("mv", ".engine")])
def test_a_directory_that_cannot_be_written(tool: str, what: str, jetson: Path, device: Device) -> None:
    assert device.build(jetson, version="10.3.0").code == 0
    before = left(jetson)
    program(device.path / tool, f'case $* in *{what}) exit 1 ;; esac; exec {shutil.which(tool)} "$@"')
    run = device.build(jetson, version="10.3.0")
    assert run.code == 8
    assert f"{jetson.parent.resolve()} cannot be written.\n  Make room" in run.err
    assert left(jetson) == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_nothing_is_left_of_a_build_that_is_stopped(number: int, code: int, jetson: Path, device: Device) -> None:
    build = subprocess.Popen(
        [SHELL, str(jetson)],
        env=device.environment("10.3.0", TRT_SECONDS="60"),
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # a signal from the terminal goes to trtexec as well
    )
    deadline = time.monotonic() + 120
    while not list(jetson.parent.glob(".build-engine.*.partial/timing.cache")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(build.pid, number)
    assert build.wait(120) == code
    assert left(jetson) == set()


# Names


def test_a_directory_with_an_odd_name(quantized: Quantized, device: Device, tmp_path: Path) -> None:
    directory = tmp_path / 'it\'s "odd" $(touch gone) `x` \\ *'
    script = shutil.copytree(quantized("jetson"), directory) / "build-engine.sh"
    for arguments in ((), (FP16,), (str(directory / FP16),), (f"{directory.name}/{FP16}",)):
        run = device.build(script, *arguments, version="10.3.0", cwd=tmp_path)
        assert run.code == 0, run.err
        assert run.out.endswith(".engine\n")
    assert device.build(script.relative_to(tmp_path), version="10.3.0", cwd=tmp_path).code == 0
    assert len(left(script)) == 3
    assert not list(tmp_path.rglob("gone"))


def test_a_model_and_an_input_with_odd_names(device: Device, tmp_path: Path) -> None:
    """Of these characters only a comma and a quote mean something to trtexec."""
    odd = 'an "input" $(touch gone):0 ~ é'
    source = changed_demo(
        tmp_path / "-it's {{target}} $x;.keras",
        config=lambda text: text.replace('"input_layer"', json.dumps(odd)),
    )
    directory = export(source, load_target("jetson"), tmp_path / "out").directory
    script = script_of(directory)
    run = device.build(script, version="10.3.0")
    assert run.code == 0, run.err
    assert run.arguments[:2] == [f"--onnx={source.stem}.fp16.onnx", f"--shapes={odd}:1x48x48x3"]
    assert f"{source.stem}.fp16.batch1.trt10.3.0.engine" in left(script)
    assert not list(tmp_path.rglob("gone"))


@pytest.mark.parametrize("character", [",", "'"])
def test_an_input_that_trtexec_cannot_be_told(character: str, tmp_path: Path) -> None:
    source = changed_demo(tmp_path / "odd.keras", config=lambda text: text.replace('"input_layer"', f'"a{character}b"'))
    directory = export(source, load_target("jetson"), tmp_path / "out").directory
    with pytest.raises(ModelError, match="trtexec takes no comma or quote in a name"):
        script_of(directory)
    assert not (directory / "build-engine.sh").exists()


def test_files_that_are_not_its_own(jetson: Path, device: Device, tmp_path: Path) -> None:
    shutil.copy(jetson.parent / INT8, tmp_path)
    for file, cause in (
        ("other.onnx", "other.onnx is not an ONNX file that edgex wrote here."),
        ("xception-digits.int8.tflite", "is not an ONNX file"),
        ("--fp16", "is not an ONNX file"),
        (str(tmp_path / INT8), f"does not lie beside this script, in {jetson.parent.resolve()}."),
        (f"nowhere/{INT8}", "does not lie beside this script"),
    ):
        run = device.build(jetson, file, version="10.3.0", cwd=tmp_path)
        assert (run.code, run.arguments) == (2, [])
        assert cause in run.err
        assert f"\n  Give one of: {INT8}, {FP16}, {FP32}\n" in run.err
    assert device.build(jetson, INT8, FP16, version="10.3.0").code == 2
    (jetson.parent / FP16).unlink()
    run = device.build(jetson, FP16, version="10.3.0")
    assert run.code == 8
    assert f"{FP16} is missing" in run.err


# The script itself


def assert_clean(script: Path) -> None:
    done = subprocess.run([SHELLCHECK, "--shell=sh", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(("target", "jetpack"), [("jetson", "4.6.1"), ("jetson", None), ("gpu-desktop", None)], ids=str)
def test_shellcheck_finds_nothing(target: str, jetpack: str | None, quantized: Quantized) -> None:
    assert_clean(quantized(target, jetpack) / "build-engine.sh")


def test_help(jetson: Path, device: Device) -> None:
    run = device.build(jetson, "--help", version="10.3.0")
    assert (run.code, run.err, run.arguments) == (0, "", [])
    assert run.out.startswith("Builds a TensorRT engine")
    assert "never load an engine from elsewhere" in run.out
    assert run.out.endswith(f"otherwise trtexec's own.\nFiles: {INT8}, {FP16}, {FP32}\n")


def test_it_runs_as_a_program(jetson: Path, device: Device) -> None:
    environment = device.environment("10.3.0")
    done = subprocess.run([jetson], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_directory_stays_what_its_manifest_says(jetson: Path, device: Device) -> None:
    """And may be written again."""
    assert device.build(jetson, version="10.3.0").code == 0
    assert verify(jetson.parent) == []
    export(demo_model(), load_target("jetson"), jetson.parent)
    assert verify(jetson.parent) == []
    assert not jetson.exists()


def test_it_may_be_written_again(jetson: Path) -> None:
    text = jetson.read_text()
    jetson.write_text("old")
    jetson.chmod(0o600)
    assert script_of(jetson.parent) == jetson
    assert jetson.read_text() == text
    assert jetson.stat().st_mode & 0o777 == 0o755
    assert left(jetson) == set()


def test_a_directory_without_onnx_files(jetson: Path) -> None:
    manifest = replace(read_manifest(jetson.parent), artifacts=())
    with pytest.raises(OutputError, match="has no ONNX file"):
        write_build_script(jetson.parent, manifest, load_target("jetson"))


def test_a_script_that_cannot_be_written(jetson: Path) -> None:
    jetson.unlink()
    jetson.mkdir()
    with pytest.raises(OutputError, match=r"build-engine\.sh cannot be written: Is a directory"):
        script_of(jetson.parent)
    assert [path.name for path in jetson.parent.glob(".*")] == []
