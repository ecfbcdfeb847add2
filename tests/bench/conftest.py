"""Artifacts of the demo model, made once."""

from pathlib import Path

import pytest

from edgex.pipeline import QuantizeOptions, quantize
from edgex.resources import demo_model
from edgex.target import load_target

PIXELS = 128
"""Larger than the model's own input, so that its operations take longer than what is between them."""


@pytest.fixture(scope="session")
def demo_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model for the target cpu; and ``kept/``, with the layers of its block 5 in float."""
    folder = tmp_path_factory.mktemp("demo")
    for name, keep_float in (("all", None), ("kept", "^block5_")):
        options = QuantizeOptions(calib_count=16, input_size=PIXELS, keep_float=keep_float)
        quantize(demo_model(), load_target("cpu"), "digits", folder / name, options)
    return folder
