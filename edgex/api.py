"""The commands as Python functions: ``from edgex.api import quantize``.

Each takes what its command takes and returns the records that the command shows; errors are
:class:`edgex.errors.EdgexError`.
"""

from edgex.bench import BenchOptions, bench
from edgex.compare import CompareOptions
from edgex.compare import compare_models as compare
from edgex.compile import compile_directory
from edgex.config_file import init_config as init
from edgex.demo.run import run_demo as demo
from edgex.doctor import diagnose as doctor
from edgex.gate import Limits, gate
from edgex.inspection import inspect_model as inspect
from edgex.lint import lint_file as lint
from edgex.manifest import verify
from edgex.measure import evaluate_artifacts as evaluate
from edgex.pipeline import (
    Inputs,
    PruneOptions,
    QuantizeOptions,
    TrainModelOptions,
    export,
    prune,
    quantize,
    reproduce,
)
from edgex.pipeline import train_model as train
from edgex.run import Recipe, run
from edgex.sensitivity import SensitivityOptions
from edgex.sensitivity import measure_sensitivity as sensitivity
from edgex.target import load_target, target_names
from edgex.validate import ValidateOptions, validate

__all__ = [
    "BenchOptions",
    "CompareOptions",
    "Inputs",
    "Limits",
    "PruneOptions",
    "QuantizeOptions",
    "Recipe",
    "SensitivityOptions",
    "TrainModelOptions",
    "ValidateOptions",
    "bench",
    "compare",
    "compile_directory",
    "demo",
    "doctor",
    "evaluate",
    "export",
    "gate",
    "init",
    "inspect",
    "lint",
    "load_target",
    "prune",
    "quantize",
    "reproduce",
    "run",
    "sensitivity",
    "target_names",
    "train",
    "validate",
    "verify",
]
