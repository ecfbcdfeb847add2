"""``edgex train`` as a user runs it: whole, interrupted, refused."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest
from command import Outcome, edgex, refused, start
from graphs import tiny_xception
from shapes import shapes

from edgex.errors import ExitCode
from edgex.graph.read import read_model
from edgex.pipeline.origin import origin_of
from edgex.train.record import TrainedRecord
from edgex.write.keras import keras_file
from edgex.zoo import build

TINY = ("--width", 0.05, "--depth", 0.125, "--input-size", 24)
"""An Xception that trains in seconds; it learns little."""
TRAIN = ("train", "--model", "xception", *TINY, "--data", "few.npz", "--batch", 16, "--threads", 1)
SHORT = (*TRAIN, "--epochs", 3)
KERNELS = ("kernel", "depthwise", "pointwise")


def few_digits(folder: Path, classes: int = 10, split: str = "train", count: int = 120) -> Path:
    from edgex.resources import digits_file

    with np.load(digits_file()) as arrays:
        x, y = (arrays[key][(arrays["split"] == split) & (arrays["y"] < classes)][:count] for key in "xy")
    np.savez(folder / "few.npz", x=x, y=y)
    return folder / "few.npz"


def in_project(folder: Path) -> Path:
    (folder / ".git").mkdir()
    few_digits(folder)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return in_project(tmp_path)


def files(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()} - {".git", "few.npz"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A project with a network of the zoo that was trained there. Not to be changed."""
    folder = in_project(tmp_path_factory.mktemp("whole"))
    return folder, edgex(*SHORT, "--logs", "logs", "--json", cwd=folder)


def test_a_network_of_the_zoo(whole: tuple[Path, Outcome]) -> None:
    folder, outcome = whole
    assert outcome.code == 0, outcome.err
    assert files(folder) == {"xception.keras", "logs"}
    training = outcome.document["training"]
    assert (training["source"], training["recipe"], training["steps"]) == ({"name": "xception"}, "modern", 3 * 7)
    assert len(training["losses"]) == 4
    assert training["options"]["architecture"] == {"width": 0.05, "depth": 0.125}
    assert training["preprocessing"]["size"] == [24, 24]
    (artifact,) = outcome.document["artifacts"]
    assert (artifact["path"], artifact["format"], artifact["precision"]) == ("xception.keras", "keras", "fp32")
    graph = read_model(folder / "xception.keras")
    layers = build("xception", classes=10, input_size=24, width=0.05, depth=0.125)
    assert [node.name for node in graph.nodes] == [node.name for node in layers.nodes]
    changed = [(graph[node.name].params[key] != node.params[key]).any() for node in layers.nodes for key in node.params]
    assert all(changed), "all weights were trained"


def test_keras_opens_it(whole: tuple[Path, Outcome]) -> None:
    import keras

    folder, _ = whole
    opened = keras.saving.load_model(folder / "xception.keras")
    assert opened.output_shape == (None, 10)


@pytest.mark.slow
def test_it_remembers_its_images(whole: tuple[Path, Outcome], tmp_path: Path) -> None:
    folder, _ = whole
    record = origin_of(folder / "xception.keras")
    assert isinstance(record, TrainedRecord)
    assert record.classes == tuple("0123456789")
    assert len(record.images) > 100
    for command in (("quantize", "--calib", "digits"), ("export",)):
        made = edgex(
            *(command[0], "xception.keras", "--target", "cpu", *command[1:], "-o", tmp_path / command[0]), cwd=folder
        )
        assert made.code == 0, made.err
        document = json.loads((tmp_path / command[0] / "trained.json").read_text())
        assert document["images"] == list(record.images)
        refused(
            edgex("eval", tmp_path / command[0], "--data", "few.npz", cwd=folder), ExitCode.USAGE, "trained on", "120"
        )
        evaluated = edgex("eval", tmp_path / command[0], "--data", "digits", "--json", cwd=folder)
        assert evaluated.code == 0, evaluated.err


@pytest.mark.slow
def test_a_file_is_trained_further_for_other_classes(whole: tuple[Path, Outcome], tmp_path: Path) -> None:
    folder, _ = whole
    few = few_digits(in_project(tmp_path), classes=3, split="calibration")
    made = edgex(
        *("train", "--model", folder / "xception.keras", "--data", few, "--epochs", 1, "--batch", 8, "--json"),
        cwd=tmp_path,
    )
    assert made.code == 0, made.err
    assert "tells 10 classes apart and the images show 3, so predictions begins anew" in made.err
    training = made.document["training"]
    assert training["options"]["learning_rate"] == pytest.approx(2e-4), "a tenth of what begins at random"
    assert training["source"]["name"] == "xception.keras"
    first, second = (origin_of(file) for file in (folder / "xception.keras", tmp_path / "trained.keras"))
    assert first is not None
    assert second is not None
    assert set(first.images) < set(second.images)
    assert read_model(tmp_path / "trained.keras").shapes["predictions.softmax"] == (3,)


@pytest.mark.slow
def test_weights_are_taken_from_a_file(whole: tuple[Path, Outcome], tmp_path: Path) -> None:
    """With a rate of nothing they are what comes out, but for the head, which tells other classes."""
    folder, _ = whole
    few_digits(in_project(tmp_path), classes=3)
    options = ("--from", folder / "xception.keras", "--epochs", 1, "--learning-rate", 0, "--json")
    made = edgex(*TRAIN, *options, cwd=tmp_path)
    assert made.code == 0, made.err
    note = next(note for note in made.document["notes"] if "have the weights of" in note)
    assert "anew begin predictions." in note
    assert made.document["training"]["weights"]["name"] == "xception.keras"
    source, result = (read_model(file) for file in (folder / "xception.keras", tmp_path / "xception.keras"))
    for node in source.nodes:
        for key in KERNELS:
            if key in node.params and node.name != "predictions":
                np.testing.assert_array_equal(result[node.name].params[key], node.params[key])


@pytest.mark.slow
def test_the_same_command_goes_on(project: Path, whole: tuple[Path, Outcome]) -> None:
    process = start(*SHORT, cwd=project)
    said = ""
    assert process.stderr is not None
    while "epoch 2 of 3" not in said and process.poll() is None:
        said = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=200)
    assert process.returncode == ExitCode.INTERRUPTED, err
    assert "goes on from step" in err
    assert files(project) == {".xception.keras.unfinished"}
    resumed = edgex(*SHORT, cwd=project)
    assert resumed.code == 0, resumed.err
    assert "epoch 1 of 3" not in resumed.err
    assert (project / "xception.keras").read_bytes() == (whole[0] / "xception.keras").read_bytes()
    assert files(project) == {"xception.keras"}
    assert "top-1 on the images held out went from" in resumed.out
    again = edgex(*TRAIN, "--epochs", 1, cwd=project)
    assert again.code == 0, "what it wrote it may replace"


@pytest.mark.slow
def test_a_segmenter(project: Path) -> None:
    shapes(40, 32).write_folder(project / "shapes")
    options = ("--width", 0.05, "--depth", 0.125, "--epochs", 2, "--batch", 8, "--json")
    made = edgex("train", "--model", "deeplab_v3plus", "--data", "shapes", *options, "-o", "seg.keras", cwd=project)
    assert made.code == 0, made.err
    training = made.document["training"]
    assert training["measure"] == "pixel accuracy"
    assert training["classes"] == ["ground", "disc", "box", "triangle", "ring"]
    assert "about 32 pixels a side, and are read at 48×48" in made.err
    assert read_model(project / "seg.keras").shapes[read_model(project / "seg.keras").outputs[0]] == (48, 48, 5)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--recipe", "secret"), ExitCode.USAGE, ("'secret'", "modern, imagenet, jft")),
        (("--augment", "spin"), ExitCode.USAGE, ("'spin'", "flip")),
        (("--model", "alexnet"), ExitCode.USAGE, ("alexnet", "xception, inception_v3")),
        (("--model", "gone.keras"), ExitCode.USAGE, ("gone.keras",)),
        (("--set", "residual"), ExitCode.USAGE, ("residual", "KEY=VALUE")),
        (("--set", "residual=perhaps"), ExitCode.USAGE, ("residual", "true or false")),
        (("--set", "colour=blue"), ExitCode.USAGE, ("colour", "residual (connections around the blocks), ")),
        (("--set", "classes=10"), ExitCode.USAGE, ("xception has no option 'classes'", "width (")),
        (("--set", "name=x"), ExitCode.USAGE, ("xception has no option 'name'", "width (")),
        (("--set", "width=0.5"), ExitCode.USAGE, ("width is set twice",)),
        (("--width", -1), ExitCode.USAGE, ("width", "positive")),
        (("--input-size", 3), ExitCode.USAGE, ("3×3", "at least")),
        (("--model", "deeplab_v3plus"), ExitCode.USAGE, ("classifies pixels", "no masks")),
        (("--batch", 500), ExitCode.USAGE, ("less than a batch of 500",)),
        (("--data", "gone.zip"), ExitCode.USAGE, ("gone.zip",)),
        (("--data", "bare.npz"), ExitCode.DATA_REFUSED, ("without labels", "class/name.jpg")),
        (("--data", "one.npz"), ExitCode.DATA_REFUSED, ("of one class",)),
        (("--data", "masks.npz"), ExitCode.USAGE, ("whole images", "deeplab_v3plus")),
        (("--from", "gone.keras"), ExitCode.USAGE, ("gone.keras",)),
        (("-o", "model.h5"), ExitCode.USAGE, (".keras",)),
        (("-o", "nowhere/model.keras"), ExitCode.INPUT_OUTPUT, ("nowhere", "does not exist")),
        (("-o", "other.keras"), ExitCode.INPUT_OUTPUT, ("other.keras exists", "edgex train did not write it")),
        (("--logs", "few.npz"), ExitCode.INPUT_OUTPUT, ("few.npz", "--logs")),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_refusals(project: Path, arguments: tuple[object, ...], code: int, words: tuple[str, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 24, 24, 3), np.uint8)
    np.savez(project / "bare.npz", x=images)
    np.savez(project / "one.npz", x=images, y=np.zeros(40, np.int64))
    shapes(40, 24).write_npz(project / "masks.npz")
    (project / "other.keras").write_bytes(b"another's")
    before = {file.name: file.read_bytes() for file in project.iterdir() if file.is_file()}
    refused(edgex(*SHORT, *arguments, cwd=project), code, *words)
    assert {file.name: file.read_bytes() for file in project.iterdir() if file.is_file()} == before


def test_options_of_the_zoo_with_a_file(whole: tuple[Path, Outcome]) -> None:
    folder, _ = whole
    command = ("train", "--model", "xception.keras", "--data", "few.npz", "-o", "more.keras")
    refused(edgex(*command, "--width", 0.5, cwd=folder), ExitCode.USAGE, "built already", "width")
    refused(edgex(*command[:-1], "xception.keras", cwd=folder), ExitCode.USAGE, "is the model that is to be trained")


def test_weights_of_another_network(project: Path) -> None:
    (project / "tiny.keras").write_bytes(keras_file(tiny_xception()))
    refused(edgex(*SHORT, "--from", "tiny.keras", cwd=project), ExitCode.USAGE, "No layer of xception", "tiny.keras")


def test_weights_from_imagenet_where_there_is_no_network(project: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    outcome = edgex(
        *SHORT, "--from", "imagenet", cwd=project, KERAS_HOME=str(project), https_proxy=nowhere, HTTPS_PROXY=nowhere
    )
    refused(outcome, ExitCode.RUNTIME_MISSING, "xception from ImageNet cannot be downloaded", "--from FILE.keras")
    of_none = edgex("train", "--model", "aligned_xception", "--data", "few.npz", "--from", "imagenet", cwd=project)
    refused(of_none, ExitCode.USAGE, "no weights from ImageNet for aligned_xception")


@pytest.mark.slow
def test_what_was_pruned_keeps_its_zeros(whole: tuple[Path, Outcome], project: Path) -> None:
    model = whole[0] / "xception.keras"
    pruned = edgex(
        *("prune", model, "--method", "magnitude", "--train", "few.npz", "--epochs", 1, "--batch", 16), cwd=project
    )
    assert pruned.code == 0, pruned.err
    first, second = origin_of(model), origin_of(project / "pruned.keras")
    assert first is not None
    assert second is not None
    assert set(first.images) <= set(second.images)
    command = ("train", "--model", "pruned.keras", "--data", "few.npz")
    refused(edgex(*command, cwd=project), ExitCode.USAGE, "pruned by magnitude", "Train before pruning")


def test_what_is_said_nowhere(project: Path) -> None:
    refused(edgex("train", "--data", "few.npz", cwd=project), ExitCode.USAGE, "--model is missing")
    refused(edgex("train", "--model", "xception", cwd=project), ExitCode.USAGE, "--data is missing")
