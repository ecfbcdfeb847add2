"""The shape of the house: imports point one way, files are short, and ``edgex --help`` imports nothing heavy."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgex

PACKAGE = Path(edgex.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

LAYERS = (
    {"__init__", "errors", "parallel", "proportions", "wire_format"},
    {"console", "documents", "model_file", "npz_file"},
    {"cpu", "graph", "json_record", "predictions", "preprocess", "records", "resources", "strict_toml", "toml_file"},
    {
        "comparison",
        "config_file",
        "explanation",
        "images",
        "logits",
        "manifest",
        "model_record",
        "plan",
        "target",
        "zoo",
    },
    {"config", "networks", "output", "segmentation", "sources", "write"},
    {"dataset", "execute", "report", "runtime"},
    {"bench", "doctor", "evaluate", "gate", "inspection", "lint", "prune", "quantize"},
    {"exposed", "train"},
    {"pipeline"},
    {"compile", "explain", "measure", "page", "sensitivity", "settings"},
    {"compare", "demo", "validate"},
    {"run"},
    {"api", "render"},
    {"cli"},
    {"__main__"},
)
"""Modules and packages of edgex, lowest first: one imports from lower layers only, and from itself.

The stages share a layer, so none imports another.
"""

HEAVY = {
    "PIL",
    "ai_edge_litert",
    "h5py",
    "jinja2",
    "keras",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "openvino",
    "sklearn",
    "tensorflow",
    "tensorflow_model_optimization",
    "tf_keras",
}
TENSORFLOW = {"keras", "tensorflow", "tensorflow_model_optimization", "tf_keras"}
TRAINS = (
    "demo/train.py",
    "train/fake_quant.py",
    "train/gates.py",
    "train/grouped.py",
    "train/logs.py",
    "train/losses.py",
    "train/network.py",
    "train/optimizers.py",
    "train/pretrained.py",
    "train/sparsity.py",
    "train/student.py",
    "zoo/inception.py",
)
"""The files that may import TensorFlow."""

MOST_LINES = 400


def imported(tree: ast.AST) -> Iterator[str]:
    """Full names of what is imported anywhere in a file: ``edgex.plan.Range``, ``numpy``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno} is a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def at_import(tree: ast.Module) -> Iterator[str]:
    """The same, of what runs when the file is imported."""
    for node in tree.body:
        guard = ast.unparse(node.test) if isinstance(node, ast.If) else ""
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and guard != "TYPE_CHECKING":
            yield from imported(node)


def room(name: str) -> str:
    """The module or package of edgex that a full name belongs to: ``edgex.graph.ir.Node`` to ``graph``."""
    part = name.split(".")[1]
    exists = (PACKAGE / f"{part}.py").exists() or (PACKAGE / part).is_dir()
    return part if exists else "__init__"  # a name of the package itself, such as __version__


def layer_of(part: str) -> int:
    return next(level for level, parts in enumerate(LAYERS) if part in parts)


def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def wrong_imports(tree: ast.AST, part: str) -> list[str]:
    used = {room(name) for name in imported(tree) if name.split(".")[0] == "edgex"} - {part}
    return sorted(other for other in used if layer_of(other) >= layer_of(part))


def part_of(file: Path) -> str:
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def test_every_module_has_one_layer() -> None:
    listed = [part for layer in LAYERS for part in sorted(layer)]
    assert sorted(listed) == sorted({part_of(file) for file in FILES})


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_point_downwards(file: Path) -> None:
    assert wrong_imports(parsed(file), part_of(file)) == []


@pytest.mark.parametrize(
    ("line", "part", "wrong"),
    [
        ("from edgex.quantize.ptq import quantize_ptq", "lint", ["quantize"]),
        ("def f():\n    import edgex.pipeline", "plan", ["pipeline"]),
        ("from edgex import bench, errors", "evaluate", ["bench"]),
        ("from edgex import __version__", "write", []),
        ("from edgex.graph.ir import Node", "graph", []),
    ],
)
def test_a_wrong_import_shows(line: str, part: str, wrong: list[str]) -> None:
    assert wrong_imports(ast.parse(line), part) == wrong


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_nothing_heavy_at_module_level(file: Path) -> None:
    assert not HEAVY & {name.split(".")[0] for name in at_import(parsed(file))}


def test_a_heavy_import_shows() -> None:
    source = "import onnx.helper\ntry:\n    import h5py\nfinally:\n    pass\ndef f():\n    import keras\n"
    guarded = "if TYPE_CHECKING:\n    import PIL\n"
    assert list(at_import(ast.parse(source + guarded))) == ["onnx.helper", "h5py"]


def test_tensorflow_lives_only_where_models_are_trained() -> None:
    users = {
        file.relative_to(PACKAGE).as_posix()
        for file in FILES
        if TENSORFLOW & {name.split(".")[0] for name in imported(parsed(file))}
    }
    assert users <= set(TRAINS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_files_are_short(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


HELP = """
import sys
sys.argv = ["edgex", "--help"]
from edgex.cli import main
try:
    main()
finally:
    print(*sorted(sys.modules), file=sys.stderr)
"""


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    assert "quantize" in done.stdout
    loaded = {name.split(".")[0] for name in done.stderr.split()}
    assert {"edgex", "typer"} <= loaded
    assert not loaded & {*HEAVY, "numpy", "pydantic", "psutil"}
