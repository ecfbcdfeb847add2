"""What the parts of Xception are worth: its paper's ablations, on digits, each with the same budget and three seeds.

The paper (Chollet 2017, arXiv:1610.02357) trains on ImageNet and JFT. Here the networks are narrow, the images small
and the training short, so only the direction can be compared, and not by how much.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.inputs import Workplace
from benchmarks.report import Cell, Figure, Section, Table
from edgex.dataset import open_dataset
from edgex.evaluate import evaluate
from edgex.graph.passes import prepare
from edgex.graph.read import read_model
from edgex.inspection import inspect_graph
from edgex.pipeline import TrainModelOptions, train_model
from edgex.preprocess import Preprocessing
from edgex.write.onnx import onnx_model

SIZE = 48
BUDGET = TrainModelOptions(input_size=SIZE, epochs=5)
WIDTH = 0.125
SEEDS = (0, 1, 2)

XCEPTION = "Xception"
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    XCEPTION: {},
    "without residual connections": {"residual": False},
    "a ReLU between depthwise and pointwise": {"intermediate": "relu"},
    "an ELU between depthwise and pointwise": {"intermediate": "elu"},
    "pointwise first": {"order": "pointwise-first"},
    "regular convolutions (1 segment)": {"segments": 1},
    "3 segments": {"segments": 3},
}
QUICK = (XCEPTION, "without residual connections")


def measure(workplace: Workplace) -> Section:
    """Train every variant, and see how many held-out digits it knows."""
    folder = workplace.subfolder("ablations")
    names = QUICK if workplace.quick else tuple(VARIANTS)
    seeds = SEEDS[:1] if workplace.quick else SEEDS
    budget = replace(BUDGET, epochs=1) if workplace.quick else BUDGET
    found = {
        name: [
            _trained(folder / f"{number}-{seed}.keras", VARIANTS[name], replace(budget, seed=seed)) for seed in seeds
        ]
        for number, name in enumerate(names)
    }
    known = {name: [top1 for top1, _, _ in of_one] for name, of_one in found.items()}
    apart = [100 * (without - with_) for with_, without in zip(known[XCEPTION], known[QUICK[1]], strict=True)]
    figure = Figure("top-1 on digits without residual connections - with them", mean(apart), 0.0, "points")
    rows: list[tuple[Cell, ...]] = [
        (name, parameters, macs, 100 * mean(known[name]), 100 * min(known[name]), 100 * max(known[name]))
        for name, [(_, parameters, macs), *_] in found.items()
    ]
    columns = ("variant", "parameters", "multiply-accumulates", "top-1 %, mean", "lowest", "highest")
    return Section("ablations", (figure,), Table(columns, tuple(rows)))


def _trained(file: Path, variant: Mapping[str, Any], options: TrainModelOptions) -> tuple[float, int, int]:
    """Top-1 on the digits that are held back, parameters, and multiply-accumulates."""
    architecture = {"width": WIDTH, **variant}
    if not file.exists():
        train_model("xception", "digits", file, replace(options, architecture=architecture))
    graph = read_model(file)
    artifact = file.with_suffix(".onnx")
    artifact.write_bytes(onnx_model(prepare(graph)).SerializeToString())
    (result,) = evaluate([artifact], open_dataset("digits", role="evaluation"), Preprocessing(size=(SIZE, SIZE)))
    counted = inspect_graph(graph)
    return result.top1, counted.parameters, counted.macs
