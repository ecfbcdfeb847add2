"""Trains the demo model: Xception's layers, block for block, with few channels, on handwritten digits.

F. Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", CVPR 2017, arXiv:1610.02357. Needs the
train extra; nothing else in edgex imports this file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgex.errors import OutputError, RuntimeMissingError
from edgex.output import replace_files
from edgex.preprocess import Preprocessing
from edgex.resources import digits_file

if TYPE_CHECKING:
    import keras

PREPROCESSING = Preprocessing(size=(48, 48), channels=3, scale="xception", resize="stretch")
"""Three channels, as an Xception has; 48 pixels leave 2×2 positions after its five halvings."""

CLASSES = 10
BATCH = 32
LEARNING_RATE = 3e-3


@dataclass(frozen=True)
class Widths:
    """Output channels. The defaults are the demo's; Xception's own are in the comments.

    Attributes:
        stem: the two convolutions of block 1.
        entry: blocks 2 to 4.
        middle: blocks 5 to 12, and the first convolution of block 13. Equal to the last of ``entry``.
        exit: the second convolution of block 13, and the two of block 14.
    """

    stem: tuple[int, int] = (8, 16)  # 32, 64
    entry: tuple[int, int, int] = (24, 32, 48)  # 128, 256, 728
    exit: tuple[int, int, int] = (64, 96, 128)  # 1024, 1536, 2048

    @property
    def middle(self) -> int:
        return self.entry[-1]


def build(widths: Widths, shape: tuple[int, int, int], classes: int) -> "keras.Model":
    """``keras.applications.Xception`` with other widths: the same layers under the same names.

    Args:
        widths: output channels of the convolutions.
        shape: (height, width, channels) of the input.
        classes: outputs of the softmax.
    """
    import keras
    from keras import layers

    # Layers without a name of their own are numbered by a counter of the session: conv2d, conv2d_1, …
    keras.utils.clear_session()

    def separable(x: Any, channels: int, name: str) -> Any:
        x = layers.SeparableConv2D(channels, 3, padding="same", use_bias=False, name=name)(x)
        return layers.BatchNormalization(name=f"{name}_bn")(x)

    def relu(x: Any, name: str) -> Any:
        return layers.Activation("relu", name=f"{name}_act")(x)

    def shortcut(x: Any, channels: int) -> Any:
        x = layers.Conv2D(channels, 1, strides=2, padding="same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    def halve(x: Any, residual: Any, block: str) -> Any:
        x = layers.MaxPooling2D(3, strides=2, padding="same", name=f"{block}_pool")(x)
        return layers.add([x, residual])

    image = x = layers.Input(shape)
    for index, (channels, strides) in enumerate(zip(widths.stem, (2, 1), strict=True), start=1):
        name = f"block1_conv{index}"
        x = layers.Conv2D(channels, 3, strides=strides, use_bias=False, name=name)(x)
        x = relu(layers.BatchNormalization(name=f"{name}_bn")(x), name)

    for index, channels in enumerate(widths.entry, start=2):
        block = f"block{index}"
        residual = shortcut(x, channels)
        if index > 2:  # block 1 ends in a ReLU already
            x = relu(x, f"{block}_sepconv1")
        x = separable(x, channels, f"{block}_sepconv1")
        x = relu(x, f"{block}_sepconv2")
        x = separable(x, channels, f"{block}_sepconv2")
        x = halve(x, residual, block)

    for index in range(5, 13):
        residual = x
        for part in (1, 2, 3):
            name = f"block{index}_sepconv{part}"
            x = separable(relu(x, name), widths.middle, name)
        x = layers.add([x, residual])

    residual = shortcut(x, widths.exit[0])
    x = separable(relu(x, "block13_sepconv1"), widths.middle, "block13_sepconv1")
    x = separable(relu(x, "block13_sepconv2"), widths.exit[0], "block13_sepconv2")
    x = halve(x, residual, "block13")
    for part, channels in enumerate(widths.exit[1:], start=1):
        name = f"block14_sepconv{part}"
        x = relu(separable(x, channels, name), name)

    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = layers.Dense(classes, activation="softmax", name="predictions")(x)
    return keras.Model(image, x, name="xception")


def train(
    output: Path, *, epochs: int = 30, seed: int = 0, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> float:
    """Train the demo model on the train split of the digits and save it.

    Args:
        output: the ``.keras`` file to write; it appears whole or not at all.
        epochs: passes over the 1,197 training images, each shifted anew.
        seed: of the initial weights, the order and the shifts.
        progress: called with epochs done and epochs in all.

    Returns:
        Top-1 accuracy on the test split, as a fraction.

    Raises:
        RuntimeMissingError: the train extra is not installed.
        OutputError: ``output`` does not end in .keras, its folder does not exist, or the disk refuses.
    """
    if output.suffix != ".keras" or not output.parent.is_dir():
        raise OutputError(f"Cannot write a model to {output}.", fix="Name a .keras file in a folder that exists.")
    try:
        import keras
        import tensorflow as tf
    except ImportError as error:
        raise RuntimeMissingError(
            f"Training needs {error.name}, which is not installed.", fix="pip install 'edgex[train]'"
        ) from error

    keras.utils.set_random_seed(seed)
    model = build(Widths(), (*PREPROCESSING.size, PREPROCESSING.channels), CLASSES)
    shift = keras.layers.RandomTranslation(0.1, 0.1, fill_mode="nearest", seed=seed)
    images, labels = _split("train")
    batches = (
        tf.data.Dataset.from_tensor_slices((images, labels))
        .shuffle(len(images), seed=seed)
        .batch(BATCH)
        .map(lambda batch, truth: (shift(batch, training=True), truth))
        .prefetch(2)
    )
    # The trainer shares the model's layers and keeps what only training needs out of the file.
    trainer = keras.Model(model.inputs, model.outputs)
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, epochs * len(batches))
    trainer.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy", metrics=["accuracy"])
    counter = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, _logs: progress(epoch + 1, epochs))
    with replace_files([output]) as (draft,):
        trainer.fit(batches, epochs=epochs, shuffle=False, verbose=0, callbacks=[counter])
        accuracy = float(trainer.evaluate(*_split("test"), verbose=0, return_dict=True)["accuracy"])
        model.save(draft)
    return accuracy


def _split(name: str) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Preprocessed images (n, 48, 48, 3) and labels (n,) of one split of the digits."""
    with np.load(digits_file()) as arrays:
        chosen = arrays["split"] == name
        images = np.stack([PREPROCESSING.apply(image) for image in arrays["x"][chosen]])
        return images, arrays["y"][chosen]
