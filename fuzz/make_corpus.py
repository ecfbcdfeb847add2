"""Makes the corpus anew: ``python -m fuzz.make_corpus``. Small files of every kind, by what writes them in earnest.

Needs the train extra. The figures of latency differ from one time to the next, all else is the same.
"""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from edgex.resources import targets_dir
from fuzz.foreign_onnx import foreign_onnx
from fuzz.segmented import masked_zip, png, write_segmenter
from fuzz.targets import BESIDE, CORPUS

SIZE = 8
"""Height and width of images."""

CLASSES = 3
SETTINGS = """\
model = "model.keras"
target = "cpu"
calib = "calib.zip"
data = "val.zip"
output = "out/{target}"
keep_float = "^conv"
learning_rate = 1e-5
mode = "qat"
train = 'digits'
max_drop = 1
seconds = 0.5
cross_layer = true
"""
PRUNING = """\
prune = "channels"
sparsity = 0.5
prune_steps = 2
"""


def main() -> None:
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, files in _corpus(folder):
            kept = CORPUS / name
            shutil.rmtree(kept, ignore_errors=True)
            kept.mkdir(parents=True)
            for file, content in files.items():
                (kept / file).write_bytes(content)
            print(f"{name}: {len(files)} files, {sum(map(len, files.values())):,} bytes")


def _corpus(folder: Path) -> Iterator[tuple[str, Mapping[str, bytes]]]:
    """Folders of the corpus, and their files."""
    pictures = _pictures()
    yield "image", pictures
    yield "images-zip", {"classes.zip": _zip(1), "flat.zip": _zip(2, "{}.png"), "stored.zip": _zip(3, method=0)}
    yield "images-npz", {"plain.npz": _npz(np.savez), "packed.npz": _npz(np.savez_compressed)}
    yield "images-csv", {"words.csv": _csv("dog", "cat"), "numbers.csv": _csv(0, 1), "none.csv": b"path\na.png\n"}
    yield "masks-zip", {"named.zip": masked_zip(4, SIZE), "counted.zip": masked_zip(4, SIZE, seed=1, names=False)}
    mask = _pixels(5) % CLASSES
    yield (
        "mask",
        {"gray.png": png(mask), "palette.png": png(mask, palette=True), "deep.png": png(mask.astype(np.uint16))},
    )
    yield "edgex-toml", {"edgex.toml": SETTINGS.encode(), "pruning.toml": SETTINGS.encode() + PRUNING.encode()}
    yield "pyproject", {"pyproject.toml": b'[project]\nname = "x"\n\n[tool.edgex]\n' + SETTINGS.encode()}
    yield "target", {file.name: file.read_bytes() for file in sorted(targets_dir().glob("*.toml"))}
    yield "worker", {"answer": _message()}
    models = _keras_models(folder)
    yield "keras", {name: content for name, content in models.items() if name.endswith(".keras")}
    yield "h5", {name: content for name, content in models.items() if name.endswith(".h5")}
    yield "keras-config", {f"{name}.json": _configuration(models[f"{name}.keras"]) for name in ("nested", "tf_keras")}
    yield from _written(folder, {"a.png": pictures["gray.png"], "b.png": pictures["rgb.png"]})


# Images


def _pixels(number: int, *channels: int) -> Any:
    return np.random.default_rng(number).integers(0, 256, (SIZE, SIZE, *channels), np.uint8)


def _pictures() -> dict[str, bytes]:
    """Every format, and the modes that are converted."""
    from PIL import Image

    def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
        stream = io.BytesIO()
        image.save(stream, form, **options)
        return stream.getvalue()

    rgb, gray = Image.fromarray(_pixels(0, 3)), Image.fromarray(_pixels(1))
    turned = Image.Exif()
    turned[0x0112] = 6  # the orientation
    deep = Image.fromarray(_pixels(2).astype(np.uint16) * 257)
    return {
        "rgb.png": encoded(rgb, "PNG"),
        "gray.png": encoded(gray, "PNG"),
        "alpha.png": encoded(Image.fromarray(_pixels(3, 4)), "PNG"),
        "palette.png": encoded(rgb.quantize(4), "PNG", transparency=0),
        "deep.png": encoded(deep, "PNG"),
        "turned.jpg": encoded(rgb, "JPEG", exif=turned),
        "cmyk.jpg": encoded(rgb.convert("CMYK"), "JPEG"),
        "moving.gif": encoded(gray, "GIF", save_all=True, append_images=[gray.rotate(90)]),
        "plain.bmp": encoded(rgb, "BMP"),
        "lzw.tif": encoded(rgb, "TIFF", compression="tiff_lzw"),
        "deep.tif": encoded(deep, "TIFF"),
        "lossless.webp": encoded(rgb, "WEBP", lossless=True),
        "lossy.webp": encoded(rgb, "WEBP"),
    }


def _zip(seed: int, name: str = "class {1}/{0}.png", method: int = zipfile.ZIP_DEFLATED, images: int = 6) -> bytes:
    """An archive of images in class folders, or as ``name`` has it of a number and a class."""
    from PIL import Image

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for number in range(images):
            image = io.BytesIO()
            Image.fromarray(_pixels(1000 * seed + number, 3)).save(image, "PNG")
            archive.writestr(zipfile.ZipInfo(name.format(number, number % CLASSES)), image.getvalue())
    return stream.getvalue()


def _npz(save: Callable[..., None]) -> bytes:
    stream = io.BytesIO()
    save(stream, x=np.stack([_pixels(number, 3) for number in range(4)]), y=np.arange(4) % CLASSES)
    return stream.getvalue()


def _csv(*labels: object) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([("path", "label"), ("a.png", labels[0]), ("b.png", labels[1])])
    return text.getvalue().encode()


def _message() -> bytes:
    from edgex.runtime.worker import write_message

    stream = io.BytesIO()
    write_message(stream, {"inputs": [], "outputs": []}, [np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(2)])
    return stream.getvalue()


# Models


def _keras_models(folder: Path) -> dict[str, bytes]:
    """Of Keras 3 and Keras 2, in both formats; together they have every kind of layer that is read."""
    import keras
    import tf_keras

    models = {
        "functional.keras": _functional(keras),
        "nested.keras": _nested(keras),
        "sequential.keras": _sequential(keras),
        "tf_keras.keras": _functional(tf_keras),
        "functional.h5": _functional(keras),
        "nested.h5": _nested(tf_keras),
        "tf_keras.h5": _functional(tf_keras),
    }
    contents = {}
    for name, model in models.items():
        model.save(folder / name)
        contents[name] = (folder / name).read_bytes()
    return contents | {"pruned.keras": _pruned(folder / "functional.keras")}


def _functional(keras: ModuleType) -> Any:
    layers = keras.layers
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1)(image)
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = layers.Conv2D(4, 3, strides=2, use_bias=False, name="conv")(x)
    x = shortcut = layers.ReLU(6.0)(layers.BatchNormalization(name="norm")(x))
    x = layers.SeparableConv2D(4, 3, padding="same", activation="relu")(x)
    x = layers.Add()([x, shortcut])
    x = layers.DepthwiseConv2D(3, padding="same")(x * 0.5 + 1.0)
    x = layers.Concatenate()([layers.MaxPooling2D(2)(x), layers.AveragePooling2D(2)(x)])
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(CLASSES, activation="softmax", name="predictions")(x))


def _nested(keras: ModuleType) -> Any:
    layers = keras.layers
    inner_image = keras.Input((SIZE, SIZE, 3))
    inner = keras.Model(inner_image, layers.Conv2D(3, 1, name="conv")(layers.LeakyReLU()(inner_image)), name="inner")
    image = keras.Input((SIZE, SIZE, 3))
    both = layers.Multiply()([inner(image), inner(inner(image))])
    return keras.Model(image, layers.Dense(CLASSES)(layers.GlobalMaxPooling2D()(both)))


def _sequential(keras: ModuleType) -> Any:
    layers = keras.layers
    stack = [
        keras.Input((SIZE, SIZE, 3)),
        layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 2.0, 3.0]),
        layers.Cropping2D(1),
        layers.Conv2D(2, 1, activation="swish"),
        layers.ELU(),
        layers.Flatten(),
        layers.Reshape((SIZE - 2, SIZE - 2, 2)),
        layers.Flatten(),
        layers.Dense(CLASSES, activation="hard_sigmoid"),
        layers.Softmax(),
    ]
    return keras.Sequential(stack)


def _pruned(model: Path) -> bytes:
    """As ``edgex prune`` writes one, with the record of how."""
    from edgex.graph.read_keras import read_keras
    from edgex.json_record import to_document
    from edgex.prune.record import PRUNING_SCHEMA, PruningRecord
    from edgex.write.keras import keras_file

    record = PruningRecord(
        key="key",
        source={"name": model.name, "sha256": "ab" * 32},
        method="channels",
        sparsity=0.5,
        macs=(1000, 500),
        parameters=(100, 50),
        zeros=0.25,
        losses=(1.0, 0.5),
        accuracies=(0.5, 0.75),
        best_epoch=1,
        options={"steps": 2},
        versions={"tensorflow": "2"},
        images=("cd" * 32,),
    )
    return keras_file(read_keras(model), to_document(PRUNING_SCHEMA, record))


def _configuration(model: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(model)) as archive:
        return archive.read("config.json")


# What edgex writes


def _written(folder: Path, pictures: Mapping[str, bytes]) -> Iterator[tuple[str, Mapping[str, bytes]]]:
    """Artifacts and records of the commands, each for the model ``functional.keras``."""
    (folder / ".git").mkdir()
    (folder / "calib.zip").write_bytes(_zip(4))
    (folder / "val.zip").write_bytes(_zip(5, images=30))
    for output, options in {
        "cpu": ("--target", "cpu"),
        "jetson": ("--target", "jetson"),
        "four": ("--target", "cpu", "--weight-bits", "4"),
        "integer": ("--target", "cpu", "--io", "int8"),
    }.items():
        _edgex(folder, "quantize", "functional.keras", "--calib", "calib.zip", "-o", output, *options)

    def of(name: str, *outputs: str) -> dict[str, bytes]:
        return {f"{output}.{name}": (folder / output / name).read_bytes() for output in outputs}

    def model(ending: str, *outputs: str) -> dict[str, bytes]:
        return of(f"functional.{ending}", *outputs)

    yield "onnx", model("int8.onnx", "cpu", "jetson", "four") | model("fp32.onnx", "cpu") | model("fp16.onnx", "jetson")
    yield "onnx-model", {"foreign.onnx": foreign_onnx(SIZE, CLASSES)} | model("fp32.onnx", "cpu")
    yield "tflite", model("int8.tflite", "cpu", "four", "integer") | model("fp32.tflite", "cpu")
    yield "plan", of("plan.json", "cpu", "four")
    yield "manifest", of("manifest.json", "cpu", "jetson")
    yield "training", {"training.json": json.dumps({"schema": "edgex.training/1", "images": ["ab" * 32]}).encode()}
    yield "ledger", {"run.json": _ledger(folder, pictures)}
    yield "checkpoint", {"training.npz": _checkpoint(folder)}
    yield BESIDE.name, {**pictures, "model.fp32.onnx": (folder / "cpu" / "functional.fp32.onnx").read_bytes()}
    _edgex(folder, "validate", "cpu", "--data", "val.zip", "--seconds", "0.1")
    _edgex(folder, "validate", "jetson", "--data", "val.zip", "--no-latency")
    yield "report", of("report.json", "cpu", "jetson")
    yield "predictions", of("predictions.npz", "cpu")
    yield from segmented(folder)
    asked = ("--calib", "calib.zip", "--data", "val.zip", "--target", "cpu", "--save", "sensitivity.json")
    _edgex(folder, "sensitivity", "functional.keras", *asked)
    yield "sensitivity", {"sensitivity.json": (folder / "sensitivity.json").read_bytes()}


def segmented(folder: Path) -> Iterator[tuple[str, Mapping[str, bytes]]]:
    """What validate writes of a network that labels pixels."""
    write_segmenter(folder / "segmenter.onnx", SIZE)
    (folder / "masks.zip").write_bytes(masked_zip(40, SIZE, seed=2))
    (folder / "others.zip").write_bytes(masked_zip(8, SIZE, seed=3))
    _edgex(folder, "quantize", "segmenter.onnx", "--target", "jetson", "--calib", "others.zip", "-o", "segmented")
    _edgex(folder, "validate", "segmented", "--data", "masks.zip", "--no-latency")
    written = {name: (folder / "segmented" / name).read_bytes() for name in ("report.json", "predictions.npz")}
    yield "segmentation-report", {"report.json": written["report.json"]}
    yield "segmentation-predictions", {"predictions.npz": written["predictions.npz"]}


def _edgex(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "edgex", *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def _ledger(folder: Path, pictures: Mapping[str, bytes]) -> bytes:
    from edgex.run.ledger import Ledger

    for name, content in pictures.items():
        (folder / name).write_bytes(content)
    Ledger(folder / "run.json", folder).keep("quantize", "key", pictures, ["a warning"])
    return (folder / "run.json").read_bytes()


def _checkpoint(folder: Path) -> bytes:
    from edgex.train.checkpoint import Checkpoint, History

    arrays = (np.arange(6, dtype=np.float32), np.array(3))
    Checkpoint("key", 3, History((1.0, 0.5), (0.5, 0.75)), arrays, arrays[:1]).save(folder / "training.npz")
    return (folder / "training.npz").read_bytes()


if __name__ == "__main__":
    main()
