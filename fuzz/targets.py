"""What is fuzzed: each reader of edgex as a command calls it, with what follows on the file it accepted.

Heavy imports are inside the functions, as in edgex itself, so that each process loads only what its target needs.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from edgex.errors import EdgexError, ModelError
from fuzz.archives import mutate_npy, mutate_zip
from fuzz.bytewise import Mutator, mutate_bytes
from fuzz.documents import mutate_json, mutate_words
from fuzz.models import mutate_hdf5, mutate_onnx, mutate_tflite

if TYPE_CHECKING:
    from edgex.target import TargetProfile

CORPUS = Path(__file__).parent / "corpus"

Reader = Callable[[Path], object]
"""Reads a file; EdgexError if it refuses it, and nothing else."""


@dataclass(frozen=True)
class Target:
    """A reader under test.

    Attributes:
        name: also of the folder of its first inputs in the corpus.
        file: name to give to an input; by its end edgex tells formats apart.
        mutate: makes inputs.
        read: in a folder of its own, which is the current one and holds the input and the files of ``beside``.
        beside: files to lay beside the input.
        seconds: of the processor for one input. Most take milliseconds, and none is large.
    """

    name: str
    file: str
    mutate: Mutator
    read: Reader
    beside: tuple[Path, ...] = ()
    seconds: float = 10.0

    def seeds(self) -> list[bytes]:
        """The first inputs."""
        return [file.read_bytes() for file in sorted((CORPUS / self.name).iterdir())]


def each(*readers: Reader) -> Reader:
    """All of several readers, also where one refuses the file; the refusal is that of the first that did."""

    def read(path: Path) -> None:
        refusals = []
        for reader in readers:
            try:
                reader(path)
            except EdgexError as error:
                refusals.append(error)
        if refusals:
            raise refusals[0]

    return read


# Models


def _read_graph(path: Path) -> None:
    """A model, counted, prepared and written in every format."""
    from edgex.graph.passes import prepare
    from edgex.graph.read import read_model
    from edgex.inspection import inspect_graph
    from edgex.write.keras import keras_file
    from edgex.write.onnx import onnx_model
    from edgex.write.tflite import tflite_model

    graph = read_model(path)
    inspect_graph(graph)
    prepared = prepare(graph)
    each(
        lambda _: onnx_model(prepared).SerializeToString(),
        lambda _: tflite_model(prepared),
        lambda _: keras_file(graph),
    )(path)


def _read_pruning_record(path: Path) -> None:
    from edgex.graph.keras_record import read_record
    from edgex.prune.record import parsed_record

    parsed_record(read_record(path), path)


def _parse_configuration(path: Path) -> None:
    """The JSON of a Keras model, without its weights."""
    import json

    from edgex.graph.keras_archive import naming
    from edgex.graph.keras_config import parse_model
    from edgex.graph.keras_layers import LAYERS

    with naming(path):
        parse_model(json.loads(path.read_bytes()), LAYERS)


def _lint_onnx(path: Path) -> None:
    from edgex.lint import lint_file

    for target in _shipped_targets():
        lint_file(path, target)


@cache
def _shipped_targets() -> "tuple[TargetProfile, ...]":
    from edgex.target import load_target, target_names

    return tuple(load_target(name) for name in target_names())


def _read_onnx(path: Path) -> None:
    """What else is read of an ONNX file in the main process."""
    from edgex.lint.onnx_file import read_onnx_file
    from edgex.lint.sparsity import dense_kernels, has_two_four_sparsity
    from edgex.lint.weight_storage import weight_storage
    from edgex.runtime.integer_ends import onnx_ends

    weight_storage(path)
    file = read_onnx_file(path)
    dense_kernels(file)
    has_two_four_sparsity(file)
    graph = file.model.graph
    for given in graph.input[:2]:  # each reads the file again, and edgex asks for one
        onnx_ends(path, given.name, graph.output[0].name)


def _read_tflite(path: Path) -> None:
    from edgex.lint.tflite import lint_tflite
    from edgex.lint.weight_storage import weight_storage

    each(lint_tflite, weight_storage)(path)


def _read_answer(path: Path) -> None:
    """What a process with an untrusted model sends; edgex takes these two errors for its end."""
    from edgex.runtime.worker import read_message

    with path.open("rb") as stream:
        try:
            read_message(stream)
        except (EOFError, ValueError) as error:
            raise ModelError(str(error)) from error


# Configuration


def _read_settings(path: Path) -> None:
    """The recipe of ``edgex run``, which needs every option."""
    from edgex.cli.run import configured_recipe
    from edgex.config import read_config
    from edgex.config_file import find_config

    found = find_config(path.parent)
    if found is not None:
        read_config(found)
    recipe = configured_recipe()
    _ = recipe.quantize.keep_float_pattern, recipe.quantize.recipe()


def _read_target(path: Path) -> None:
    """A profile with the variants that it may have, and the ONNX files that are written by it."""
    from edgex.graph.ir import Graph, Input, Node, Relu
    from edgex.target import load_target
    from edgex.write.onnx import onnx_model
    from edgex.write.onnx_form import OnnxForm, int8_form

    profile = load_target(str(path))
    for variant in ({"arch": "arm"}, {"jetpack": "6.2"}):
        with suppress(EdgexError):
            load_target(str(path), **variant)
    graph = Graph("tiny", (Node("input", Input((2,))), Node("relu", Relu(), ("input",))), ("relu",))
    for form in (OnnxForm(opset=profile.opset), int8_form(profile), int8_form(profile, 4)):
        onnx_model(graph, form=form)


# Records


def _gate(path: Path) -> None:
    """A verdict, and its forms."""
    from edgex.gate import gate
    from edgex.render import github
    from edgex.render.gate import gate_document
    from edgex.render.junit import junit

    result = gate(path)
    gate_document(result)
    junit(result)
    github.markdown(result)
    github.annotations(result)


def _read_sensitivity(path: Path) -> None:
    from edgex.sensitivity.record import read_sensitivity

    read_sensitivity(path, "0" * 64)


def _read_plan(path: Path) -> None:
    """A plan, as beside files that have no layer in common, so that none runs."""
    from edgex.plan import QuantizationPlan
    from edgex.validate.layer_errors import layer_errors

    layer_errors(path.with_name("model.fp32.onnx"), path.with_name("model.fp32.onnx"), ())
    plan = QuantizationPlan.from_json(path.read_text(encoding="utf-8"), str(path))
    for tensor in plan.ranges:
        plan.parameters(tensor)
    plan.to_json()


def _images_seen(path: Path) -> None:
    from edgex.measure import images_seen

    images_seen(path.parent)


def _read_manifest(path: Path) -> None:
    from edgex.manifest import artifact_files, read_manifest, verify
    from edgex.preprocess import Preprocessing

    manifest = read_manifest(path.parent)
    verify(path.parent)
    artifact_files([path.parent])
    manifest.to_json()
    Preprocessing.from_json(manifest.preprocessing, str(path))


def _read_ledger(path: Path) -> None:
    """It promises to raise nothing."""
    from edgex.run.ledger import Ledger

    Ledger(path, path.parent).find("quantize", "key")


def _read_predictions(path: Path) -> None:
    from edgex.predictions import load_predictions

    load_predictions(path)


def _read_map_predictions(path: Path) -> None:
    """Their counts, and the pictures that a page has of them."""
    from edgex.page.map_gallery import changed_maps
    from edgex.segmentation.predictions import load_map_predictions

    found = load_map_predictions(path)
    for model, maps in found.of.items():
        maps.confusions.by_class()
        found.snr_db(model)
        changed_maps(found, model, lambda _: None)


def _read_checkpoint(path: Path) -> None:
    """It promises to raise nothing."""
    from edgex.train.checkpoint import load_checkpoint

    load_checkpoint(path, "key")


# Images


def _read_images(path: Path) -> None:
    """A dataset to its last pixel, whatever share of it is damaged."""
    from edgex.dataset import open_dataset
    from edgex.preprocess import Preprocessing

    dataset = open_dataset(path, role="calibration", max_bad=1_000_000)
    _ = dataset.fingerprint
    for _ in dataset.batches(Preprocessing((8, 8)), batch=4):
        pass
    with suppress(EdgexError):  # images without labels
        open_dataset(path, role="evaluation")


def _read_masks(path: Path) -> None:
    """The same of a dataset with masks."""
    from edgex.dataset import open_dataset
    from edgex.preprocess import Preprocessing

    dataset = open_dataset(path, role="evaluation", max_bad=1_000_000)
    _ = dataset.fingerprint
    if dataset.segmented:
        for _ in dataset.masked_batches(Preprocessing((8, 8)), (4, 6)):
            pass


def _decode_mask(path: Path) -> None:
    from edgex.images import decode_mask, upright_shape

    content = path.read_bytes()
    if decode_mask(content, path.name).shape != upright_shape(content, path.name):
        raise AssertionError("a header that tells another size than the pixels")


def _decode(path: Path) -> None:
    from edgex.images import decode
    from edgex.preprocess import Preprocessing

    image = decode(path.read_bytes(), path.name)
    for resize in ("stretch", "crop", "pad"):
        Preprocessing((8, 8), resize=resize).apply(image.pixels)


def _in_keras(member: str) -> Mutator:
    return mutate_json if member.endswith(".json") else mutate_bytes


def _in_npz(_member: str) -> Mutator:
    return mutate_npy


def _in_images(_member: str) -> Mutator:
    return mutate_bytes


mutate_settings = mutate_words(
    *("[tool.edgex]", "[tool]", "model", "target", "calib", "data", "keep_float", '"{model}"', '"demo"', '"digits"'),
    *("prune", '"channels"', "sparsity", "mode", '"qat"', "train", "learning_rate", "threads", "seconds", "max_drop"),
)
mutate_target = mutate_words(
    *("opset", "opset_limit", "operators", "artifacts", '"fp32.onnx"', '"int8.keras"', '"fp16.tflite"', "board"),
    *("[arch.arm]", "[jetpack.6]", "[onnx]", "activation_type", "onnx.bias", "name", "compiled", "13", "24"),
)
mutate_table = mutate_words("path", "label", "a.png", "b.png", "a.png,0\n", '"', "../a.png", "1", "0", "100000", "²")

BESIDE = CORPUS / "beside"

TARGETS = {
    target.name: target
    for target in (
        Target("keras", "model.keras", mutate_zip(_in_keras), each(_read_graph, _read_pruning_record)),
        Target("h5", "model.h5", mutate_hdf5, _read_graph),
        Target("keras-config", "config.json", mutate_json, _parse_configuration),
        Target("onnx", "model.onnx", mutate_onnx, each(_lint_onnx, _read_onnx)),
        Target("onnx-model", "model.onnx", mutate_onnx, _read_graph),
        Target("tflite", "model.tflite", mutate_tflite, _read_tflite),
        Target("worker", "answer", mutate_bytes, _read_answer),
        Target("edgex-toml", "edgex.toml", mutate_settings, _read_settings),
        Target("pyproject", "pyproject.toml", mutate_settings, _read_settings),
        Target("target", "board.toml", mutate_target, _read_target),
        Target("report", "report.json", mutate_json, _gate),
        Target("sensitivity", "sensitivity.json", mutate_json, _read_sensitivity),
        Target("plan", "plan.json", mutate_json, each(_read_plan, _images_seen), (BESIDE / "model.fp32.onnx",)),
        Target("training", "training.json", mutate_json, _images_seen),
        Target("manifest", "manifest.json", mutate_json, _read_manifest),
        Target("ledger", "run.json", mutate_json, _read_ledger, (BESIDE / "a.png", BESIDE / "b.png")),
        Target("predictions", "predictions.npz", mutate_zip(_in_npz), _read_predictions),
        Target("checkpoint", "training.npz", mutate_zip(_in_npz), _read_checkpoint),
        Target("images-zip", "images.zip", mutate_zip(_in_images), _read_images),
        Target("images-npz", "images.npz", mutate_zip(_in_npz), _read_images),
        Target("images-csv", "images.csv", mutate_table, _read_images, (BESIDE / "a.png", BESIDE / "b.png")),
        Target("image", "image.png", mutate_bytes, _decode),
        Target("mask", "mask.png", mutate_bytes, _decode_mask),
        Target("masks-zip", "masks.zip", mutate_zip(_in_images), _read_masks),
        Target("segmentation-report", "report.json", mutate_json, _gate),
        Target("segmentation-predictions", "predictions.npz", mutate_zip(_in_npz), _read_map_predictions),
    )
}
"""By name."""
