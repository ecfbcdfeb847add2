"""``edgex prune`` and ``edgex quantize --prune`` as a user runs them: whole, interrupted, refused."""

import json
import signal
import zlib
from pathlib import Path

import numpy as np
import pytest
from command import Outcome, edgex, refused, start

from edgex.errors import ExitCode
from edgex.graph.read import read_model
from edgex.inspection import inspect_graph
from edgex.lint.onnx_file import read_onnx_file
from edgex.lint.sparsity import dense_kernels
from edgex.pipeline.pruning import record_of

PRUNE = ("prune", "small.keras", "--train", "digits", "--batch", "16", "--threads", "1", "-o", "pruned.keras")
CHANNELS = (*PRUNE, "--method", "channels", "--epochs", 2, "--learning-rate", 3e-3)
QUANTIZE = ("--calib", "digits", "--calib-count", 40, "-o", "out", "--json")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small classifier of digits with a residual stream, not trained."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = x = layers.Input((24, 24, 3), name="image")
    x = layers.Conv2D(32, 3, strides=2, use_bias=False, name="stem")(x)
    x = stream = layers.BatchNormalization(name="stem_bn")(x)
    for block in (1, 2):
        for part, channels in enumerate((48, 32), start=1):
            name = f"block{block}_sepconv{part}"
            x = layers.Activation("relu", name=f"{name}_act")(x)
            x = layers.SeparableConv2D(channels, 3, padding="same", use_bias=False, name=name)(x)
            x = layers.BatchNormalization(name=f"{name}_bn")(x)
        x = stream = layers.Add(name=f"add{block}")([x, stream])
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = layers.Dense(10, activation="softmax", name="predictions")(x)
    file = tmp_path_factory.mktemp("model") / "small.keras"
    keras.Model(image, x, name="small").save(file)
    return file.read_bytes()


def in_project(folder: Path, model: bytes) -> Path:
    (folder / ".git").mkdir()
    (folder / "small.keras").write_bytes(model)
    return folder


@pytest.fixture
def project(tmp_path: Path, model: bytes) -> Path:
    return in_project(tmp_path, model)


def files(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()} - {".git", "small.keras"}


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, model: bytes) -> tuple[Path, Outcome]:
    """A project in which half of the work of a model went. Not to be changed."""
    folder = in_project(tmp_path_factory.mktemp("whole"), model)
    return folder, edgex(*CHANNELS, "--json", cwd=folder)


@pytest.mark.slow
def test_half_of_the_work_goes(whole: tuple[Path, Outcome]) -> None:
    folder, outcome = whole
    assert outcome.code == 0, outcome.err
    assert "every runtime has less to do" in outcome.err
    assert "WARNING" not in outcome.err
    assert files(folder) == {"pruned.keras"}
    before, after = (inspect_graph(read_model(folder / name)) for name in ("small.keras", "pruned.keras"))
    pruning = outcome.document["pruning"]
    assert pruning["macs"] == [before.macs, after.macs]
    assert 0.3 < after.macs / before.macs <= 0.5
    assert [layer.name for layer in after.layers] == [layer.name for layer in before.layers]
    widths = {layer.name: layer.shape[-1] for layer in after.layers}
    assert all(width % 8 == 0 for name, width in widths.items() if "conv" in name)
    (artifact,) = outcome.document["artifacts"]
    assert (artifact["path"], artifact["format"], artifact["precision"]) == ("pruned.keras", "keras", "fp32")
    # A network not trained before learns, whatever is taken from it
    assert pruning["accuracies"][-1] > pruning["accuracies"][0] + 0.1
    assert {ratio["format"] for ratio in outcome.document["ratios"]} == {"onnx", "tflite"}
    assert all(0 < ratio["low"] <= ratio["ratio"] <= ratio["high"] for ratio in outcome.document["ratios"])


@pytest.mark.slow
def test_keras_opens_it(whole: tuple[Path, Outcome]) -> None:
    import keras

    folder, _ = whole
    opened = keras.saving.load_model(folder / "pruned.keras")
    assert opened.count_params() == inspect_graph(read_model(folder / "pruned.keras")).parameters


@pytest.mark.slow
def test_it_is_quantized_beside_the_original(whole: tuple[Path, Outcome], tmp_path: Path) -> None:
    folder, _ = whole
    quantized = edgex("quantize", "pruned.keras", "--target", "cpu", *QUANTIZE[:-3], "-o", tmp_path / "a", cwd=folder)
    assert quantized.code == 0, quantized.err
    assert "--baseline small.keras" in quantized.err
    beside = edgex(
        *("quantize", "pruned.keras", "--target", "cpu", "--baseline", "small.keras"),
        *(*QUANTIZE[:-3], "-o", tmp_path / "b", "--json"),
        cwd=folder,
    )
    assert beside.code == 0, beside.err
    assert not any("--baseline" in warning for warning in beside.document["warnings"])
    original = edgex("export", "small.keras", "--target", "cpu", "-o", tmp_path / "c", cwd=folder)
    assert original.code == 0, original.err
    assert "warning" not in original.err
    exported = ("export", "pruned.keras", "--target", "cpu")
    alone = edgex(*exported, "-o", tmp_path / "d", cwd=folder)
    assert "The fp32 files are of the pruned model" in alone.err
    baseline = ("--baseline", "small.keras")
    assert "warning" not in edgex(*exported, *baseline, "-o", tmp_path / "e", cwd=folder).err
    for kind in ("fp32.onnx", "fp32.tflite"):
        of_original = (tmp_path / "c" / f"small.{kind}").read_bytes()
        for made in "be":
            assert (tmp_path / made / f"pruned.{kind}").read_bytes() == of_original
        for made in "ad":
            assert (tmp_path / made / f"pruned.{kind}").read_bytes() != of_original
    assert edgex("reproduce", tmp_path / "e", "pruned.keras", *baseline, cwd=folder).code == 0
    assert json.loads((tmp_path / "b" / "pruning.json").read_text())["method"] == "channels"
    refused(edgex("eval", tmp_path / "b", "--data", _seen(tmp_path), cwd=folder), ExitCode.USAGE, "trained on")


@pytest.mark.slow
def test_what_it_saw_before_is_not_forgotten(whole: tuple[Path, Outcome], tmp_path: Path) -> None:
    folder, _ = whole
    again = edgex(
        *("prune", "pruned.keras", "--method", "2:4", "--target", "jetson", "--train", _few(tmp_path)),
        *("--epochs", 1, "--batch", 4, "--threads", 1, "-o", tmp_path / "again.keras"),
        cwd=folder,
    )
    assert again.code == 0, again.err
    first, second = (record_of(file) for file in (folder / "pruned.keras", tmp_path / "again.keras"))
    assert first is not None
    assert second is not None
    assert set(first.images) < set(second.images)


def _few(folder: Path) -> Path:
    """Images to fine-tune on that are none of the digits."""
    images = np.random.default_rng(0).integers(0, 256, (20, 24, 24, 3), np.uint8)
    np.savez(folder / "few.npz", x=images, y=np.arange(20) % 10)
    return folder / "few.npz"


def _seen(folder: Path) -> Path:
    """Images for evaluation of which some were fine-tuned on."""
    from edgex.resources import digits_file

    with np.load(digits_file()) as arrays:
        x, y, split = arrays["x"], arrays["y"], arrays["split"]
    chosen = np.concatenate([np.flatnonzero(split == "test")[:20], np.flatnonzero(split == "train")[:3]])
    np.savez(folder / "seen.npz", x=x[chosen], y=y[chosen])
    return folder / "seen.npz"


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["prune 1 of 2", "prune 2 of 2"])
def test_the_same_command_goes_on(project: Path, whole: tuple[Path, Outcome], stage: str) -> None:
    process = start(*CHANNELS, cwd=project)
    said = ""
    assert process.stderr is not None
    while stage not in said and process.poll() is None:
        said = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=200)
    assert process.returncode == ExitCode.INTERRUPTED, err
    assert files(project) == {".pruned.keras.unfinished"}
    resumed = edgex(*CHANNELS, cwd=project)
    assert resumed.code == 0, resumed.err
    assert ("prune 1 of 2" in resumed.err) == (stage == "prune 1 of 2")
    assert (project / "pruned.keras").read_bytes() == (whole[0] / "pruned.keras").read_bytes()
    assert files(project) == {"pruned.keras"}


@pytest.mark.slow
def test_pruned_trained_and_quantized_in_one_go(project: Path) -> None:
    command = (
        "quantize",
        "small.keras",
        "--prune",
        "channels",
        "--sparsity",
        0.4,
        "--prune-epochs",
        1,
        "--mode",
        "qat",
    )
    training = ("--train", "digits", "--epochs", 1, "--batch", 16, "--target", "jetson")
    made = edgex(*command, *training, *QUANTIZE, cwd=project)
    assert made.code == 0, made.err
    assert files(project) == {"out"}
    assert made.err.startswith("Pruning by channels takes whole channels out, so that every runtime has less to do.\n")
    assert made.document["pruning"]["method"] == "channels"
    assert [ratio["format"] for ratio in made.document["ratios"]] == ["onnx", "tflite"]
    assert made.document["compressed"] == []
    assert "Latency is this machine's, not that of the target jetson." in made.document["warnings"]
    assert made.document["training"]["losses"]
    sizes = {Path(artifact["path"]).name: artifact["bytes"] for artifact in made.document["artifacts"]}
    plain = edgex("quantize", "small.keras", "--target", "jetson", *QUANTIZE[:-3], "-o", "plain", "--json", cwd=project)
    of_plain = {Path(artifact["path"]).name: artifact["bytes"] for artifact in plain.document["artifacts"]}
    assert sizes["small.fp32.onnx"] == of_plain["small.fp32.onnx"], "the baseline is the model as it was given"
    for kind in ("int8.onnx", "int8.tflite", "fp16.onnx"):
        assert sizes[f"small.{kind}"] < 0.9 * of_plain[f"small.{kind}"]


@pytest.mark.slow
@pytest.mark.parametrize("extra", [("--mode", "qat", "--epochs", 1), ("--rounding", "learned")])
def test_two_four_survives_quantization(project: Path, extra: tuple[object, ...]) -> None:
    command = ("quantize", "small.keras", "--prune", "2:4", "--prune-epochs", 1, *extra, "--target", "jetson")
    made = edgex(*command, "--train", "digits", "--batch", 16, *QUANTIZE, cwd=project)
    assert made.code == 0, made.err
    for kind in ("int8.onnx", "fp16.onnx"):
        assert dense_kernels(read_onnx_file(project / "out" / f"small.{kind}")) == []
    assert len(dense_kernels(read_onnx_file(project / "out" / "small.fp32.onnx"))) == 4
    assert all(artifact["deflated_bytes"] < artifact["bytes"] for artifact in made.document["artifacts"])
    deflated = {Path(each["path"]).name: each["deflated_bytes"] for each in made.document["artifacts"]}
    compressed = {each["kind"]: each for each in made.document["compressed"]}
    assert compressed.keys() == {"int8.onnx", "fp16.onnx", "int8.tflite"}
    assert all(each["deflated_bytes"] == deflated[f"small.{kind}"] for kind, each in compressed.items())
    assert compressed["fp16.onnx"]["deflated_bytes"] < compressed["fp16.onnx"]["original_deflated_bytes"]
    assert made.document["ratios"] == []
    assert made.document["pruning"]["buys"] in made.err.splitlines()
    compiled = edgex("compile", "out", cwd=project)
    assert compiled.code == 0, compiled.err
    assert "--sparsity=enable" in (project / "out" / "build-engine.sh").read_text()


@pytest.mark.slow
def test_magnitude_compresses_and_says_what_it_does_not(project: Path) -> None:
    outcome = edgex(*PRUNE, "--method", "magnitude", "--epochs", 2, "--target", "cpu", "--json", cwd=project)
    assert outcome.code == 0, outcome.err
    assert "they are no faster" in outcome.err
    document = outcome.document
    assert "they are no faster" in document["pruning"]["buys"]
    for key, name in (("deflated_bytes", "pruned.keras"), ("original_deflated_bytes", "small.keras")):
        assert document[key] == pytest.approx(len(zlib.compress((project / name).read_bytes())), rel=0.001)
    kernels = {
        (node.name, key): array
        for node in read_model(project / "pruned.keras").nodes
        for key, array in node.params.items()
        if key in ("kernel", "pointwise", "depthwise")
    }
    zeros = {place: float((kernel == 0).mean()) for place, kernel in kernels.items()}
    depthwise = {place for place in kernels if place[1] == "depthwise"}
    assert all(zeros[place] == 0 for place in depthwise)
    pruned = sum(kernel.size for place, kernel in kernels.items() if place not in depthwise)
    assert sum((kernels[place] == 0).sum() for place in kernels) / pruned == pytest.approx(0.8, abs=0.01)
    assert zeros["block1_sepconv2", "pointwise"] > zeros["stem", "kernel"] > 0
    weights = sum(kernel.size for kernel in kernels.values())
    assert document["pruning"]["zeros"] == sum(int((kernel == 0).sum()) for kernel in kernels.values()) / weights


@pytest.mark.slow
def test_a_latency_is_searched_for(project: Path) -> None:
    outcome = edgex(
        *PRUNE, "--method", "channels", "--latency", 0.9, "--epochs", 1, "--steps", 1, "--json", cwd=project
    )
    if outcome.code == ExitCode.USAGE:  # the machine is too busy to tell, and says so
        refused(outcome, ExitCode.USAGE, "0.9 of its latency")
        return
    assert outcome.code == 0, outcome.err
    before, after = outcome.document["pruning"]["macs"]
    assert after < before


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (
            ("--method", "2:4", "--target", "cpu"),
            ExitCode.USAGE,
            ("On cpu", "no other runtime gains", "--method channels"),
        ),
        (
            ("--method", "2:4", "--target", "jetson", "--jetpack", "4.6.1"),
            ExitCode.USAGE,
            ("jetpack 4.6.1", "Ampere", "--force"),
        ),
        (("--method", "channels", "--sparsity", 1.5), ExitCode.USAGE, ("--sparsity", "between 0 and 1")),
        (("--method", "channels", "--sparsity", 0.999), ExitCode.USAGE, ("0.999", "more than", "can lose")),
        (("--method", "channels", "--sparsity", 0.5, "--latency", 0.5), ExitCode.USAGE, ("takes the place",)),
        (("--method", "magnitude", "--latency", 0.5), ExitCode.USAGE, ("for the method channels",)),
        (("--method", "2:4", "--sparsity", 0.7), ExitCode.USAGE, ("always",)),
        (("--method", "lottery"), ExitCode.USAGE, ("--method 'lottery'", "channels, 2:4, magnitude")),
        (("--method", "channels", "--importance", "luck"), ExitCode.USAGE, ("'luck'", "taylor")),
        ((), ExitCode.USAGE, ("--method is missing",)),
        (("--method", "channels", "-o", "small.keras"), ExitCode.USAGE, ("is the model that is to be pruned",)),
        (("--method", "channels", "-o", "pruned.h5"), ExitCode.USAGE, (".keras",)),
        (("--method", "channels", "-o", "nowhere/pruned.keras"), ExitCode.INPUT_OUTPUT, ("nowhere", "does not exist")),
    ],
)
def test_refusals(project: Path, arguments: tuple[object, ...], code: int, words: tuple[str, ...]) -> None:
    before = (project / "small.keras").read_bytes()
    refused(edgex(*PRUNE, *arguments, cwd=project), code, *words)
    assert files(project) == set()
    assert (project / "small.keras").read_bytes() == before


def test_the_file_of_another_stays(project: Path, model: bytes) -> None:
    (project / "pruned.keras").write_bytes(model)
    outcome = edgex(*PRUNE, "--method", "channels", cwd=project)
    refused(outcome, ExitCode.INPUT_OUTPUT, "pruned.keras exists", "did not write it")
    assert (project / "pruned.keras").read_bytes() == model


def test_options_without_a_method(project: Path) -> None:
    command = ("quantize", "small.keras", "--target", "cpu", "--calib", "digits", "--sparsity", 0.5)
    refused(edgex(*command, cwd=project), ExitCode.USAGE, "no method", "--prune")


def test_pruning_without_images(project: Path) -> None:
    command = ("quantize", "small.keras", "--target", "cpu", "--calib", "digits", "--prune", "channels")
    refused(edgex(*command, cwd=project), ExitCode.USAGE, "--train")


def test_what_would_help_is_said_as_the_command_says_it(project: Path) -> None:
    command = ("quantize", "small.keras", "--target", "cpu", "--calib", "digits", "--prune", "2:4", "--train", "digits")
    refused(edgex(*command, "-o", "out", cwd=project), ExitCode.USAGE, "Prune with --prune channels", "--force")


@pytest.mark.parametrize("command", [("quantize", "--calib", "digits"), ("export",)])
def test_a_baseline_of_other_classes(project: Path, command: tuple[str, ...]) -> None:
    options = ("--target", "cpu", "--baseline", "small.keras", "-o", "out")
    refused(edgex(command[0], "demo", *command[1:], *options, cwd=project), ExitCode.USAGE, "small.keras", "48")


def test_it_can_be_insisted_on(project: Path) -> None:
    """Far enough to see that nothing refuses: the images are missing."""
    command = ("prune", "small.keras", "--method", "2:4", "--target", "cpu", "--force", "--train", "gone.zip")
    refused(edgex(*command, cwd=project), ExitCode.USAGE, "gone.zip")
