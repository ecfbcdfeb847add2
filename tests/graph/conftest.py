"""A small Keras model in both formats, for the tests that spoil it."""

from pathlib import Path

import pytest
from keras_spoiling import Archive


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One small model in both formats, as bytes."""
    from keras_oracle import FORMATS, KERAS, save  # TensorFlow takes seconds, and most tests here do without

    keras = KERAS["keras3"]
    image = keras.Input((8, 8, 3), name="image")
    tensor = keras.layers.Conv2D(4, 3, name="conv")(image)
    tensor = keras.layers.BatchNormalization(name="norm")(tensor)
    tensor = keras.layers.Dense(2, name="dense")(keras.layers.GlobalAveragePooling2D(name="pool")(tensor))
    model = keras.Model(image, tensor)
    model.compile("adam", "mse")
    folder = tmp_path_factory.mktemp("files")
    return {suffix: save(model, folder, suffix).read_bytes() for suffix in FORMATS}


@pytest.fixture
def archive(files: dict[str, bytes], tmp_path: Path) -> Archive:
    return Archive(files[".keras"], tmp_path / "model.keras")
