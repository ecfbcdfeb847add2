"""The Xception of ``shared``: its last layer makes most of the noise, and in float it makes none."""

import re
from pathlib import Path

import pytest

from edgex.execute import Logits, open_network
from edgex.pipeline import QuantizeOptions, calibration_images
from edgex.sensitivity.simulation import Probe, decoded, plan_of_one, plan_without
from edgex.sensitivity.subject import Subject, quantized
from edgex.target import load_target

IMAGES = 24


@pytest.fixture(scope="module")
def real(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Subject, Probe]:
    folder = tmp_path_factory.mktemp("real")
    model, calib = shared / "models" / "xception-cifar10-71.keras", shared / "data" / "cifar10-calib.zip"
    recipe = QuantizeOptions(calib_count=64)
    subject = quantized(model, load_target("cpu"), calib, folder / "out", recipe, lambda *_: None)
    _, images = decoded(calibration_images(calib, recipe, IMAGES), subject.preprocessing, folder / "images")
    network = open_network(subject.graph, None, subject.form)
    return subject, Probe.of(network, images, None, 2, lambda *_: None)


def test_the_last_layer_is_worst_and_float_heals_it(real: tuple[Subject, Probe]) -> None:
    subject, probe = real
    graph, plan = subject.graph, subject.plan

    def ratio(network: Logits) -> float:
        found = probe.snr_db(network)
        assert found is not None
        return found

    alone = {
        layer: ratio(open_network(graph, plan_of_one(graph, plan, layer), subject.form))
        for layer in ("predictions", "block1_conv1", "block7_sepconv2.depthwise")
    }
    whole = ratio(open_network(graph, plan, subject.form))
    kept = ratio(open_network(graph, plan_without(graph, plan, re.compile("^predictions")), subject.form))
    assert whole < alone["predictions"] < alone["block1_conv1"] < alone["block7_sepconv2.depthwise"]
    assert kept > whole + 4
