"""Weights that ``keras.applications`` has for ImageNet, but for the download: here Keras draws them."""

from typing import Any

import keras
import numpy as np
import pytest

from edgex.train.pretrained import APPLICATIONS, imagenet_graph
from edgex.zoo import build, with_weights


@pytest.mark.parametrize("name", APPLICATIONS)
def test_all_but_the_head_is_taken_over(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    application = getattr(keras.applications, APPLICATIONS[name])
    asked: list[str | None] = []

    def drawn(*, weights: str | None, **options: Any) -> Any:
        asked.append(weights)
        return application(weights=None, **options)

    monkeypatch.setattr(keras.applications, APPLICATIONS[name], drawn)
    keras.layers.Conv2D(1, 1)  # Keras numbers layers that have no name, through all that it makes
    source = imagenet_graph(name)
    assert asked == ["imagenet"]
    transfer = with_weights(build(name, classes=10, input_size=96, seed=0), source)
    assert transfer.fresh == ("predictions",)
    assert transfer.unused == ("predictions",)
    for node in transfer.graph.nodes:
        for key, array in node.params.items():
            if node.name in transfer.taken:
                np.testing.assert_array_equal(array, source[node.name].params[key])
