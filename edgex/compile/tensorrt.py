"""``build-engine.sh``: on the device, it makes TensorRT engines of the ONNX files beside it.

An engine fits one GPU and one TensorRT, so none can be built ahead. What edgex knows and ``trtexec`` must be told
(shapes, precision, sparsity) is written into the script; which TensorRT there is, and so how its flags are spelled,
the script finds out where it runs.
"""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from edgex.errors import ModelError, OutputError
from edgex.lint.onnx_file import OnnxFile, read_onnx_file
from edgex.lint.sparsity import has_two_four_sparsity
from edgex.manifest import Manifest
from edgex.output import replace_files
from edgex.records import Artifact
from edgex.target import TargetProfile

SCRIPT_NAME = "build-engine.sh"
TEMPLATE = Path(__file__).with_name("build-engine.sh.in")

OPSET_READERS = ((13, "8.0"), (17, "8.4"), (19, "9.0"), (20, "10.0"), (24, "10.15"))
"""Opsets up to the last that edgex writes, and the first TensorRT that reads all of them up to there: what
docs/operators.md says in onnx-tensorrt's releases."""


def write_build_script(directory: Path, manifest: Manifest, profile: TargetProfile) -> Path:
    """Write ``build-engine.sh`` into an output directory; one that is there is replaced.

    The script's first comment says how to use it. ``manifest`` is the directory's, whose first ONNX file is what the
    script builds by default; ``profile`` is the target it was made for.

    Returns:
        The script's path.

    Raises:
        OutputError: the directory has no ONNX file, one cannot be read, or the script cannot be written.
        ModelError: an ONNX file is damaged or too new, or an input has a name that ``trtexec`` cannot be told.
    """
    artifacts = [artifact for artifact in manifest.artifacts if artifact.format == "onnx"]
    if not artifacts:
        raise OutputError(f"{directory} has no ONNX file, which TensorRT reads.", fix="Write it anew: edgex quantize.")
    names = [artifact.path.name for artifact in artifacts]
    values = {
        "target": shlex.quote(
            " ".join([profile.name, *(f"--{key} {value}" for key, value in profile.options.items())])
        ),
        "board_tensorrt": shlex.quote(profile.board.tensorrt if profile.board else ""),
        "default": shlex.quote(names[0]),
        "files": shlex.quote(", ".join(names)),
        "descriptions": "\n".join(_description(directory, artifact, profile) for artifact in artifacts),
    }
    path = directory / SCRIPT_NAME
    _write_program(path, _filled(TEMPLATE.read_text(encoding="utf-8"), values))
    return path


def _filled(template: str, values: Mapping[str, str]) -> str:
    """``template`` with values in place of its ``{{names}}``."""
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: values[mark[1]], template)


def _description(directory: Path, artifact: Artifact, profile: TargetProfile) -> str:
    """The branch of the script's ``case`` that is about one file."""
    file = read_onnx_file(directory / artifact.path.name)
    sparse = "2:4" in profile.sparsity and has_two_four_sparsity(file)
    reader = next((version for opset, version in OPSET_READERS if file.opset <= opset), None)
    if reader is None:
        raise ModelError(
            f"{file.path} has opset {file.opset}, which no TensorRT that edgex knows reads.", fix="Write it anew."
        )
    facts = f"precision={artifact.precision} opset={file.opset} reader={reader} sparse={'yes' if sparse else 'no'}"
    return f"    {shlex.quote(artifact.path.name)})\n        {facts}\n        shapes={_shapes(file)}\n        ;;"


def _shapes(file: OnnxFile) -> str:
    """The inputs as ``--shapes`` takes them, in shell: ``image:"$batch"x299x299x3``."""
    shapes = []
    for value in file.model.graph.input:
        if set(value.name) & set(",'"):
            raise ModelError(
                f"{file.path} has an input named {value.name!r}; trtexec takes no comma or quote in a name.",
                fix="Rename the input layer.",
            )
        sides = [dim.dim_value for dim in value.type.tensor_type.shape.dim[1:]]
        shapes.append(shlex.quote(f"{value.name}:") + '"$batch"' + "".join(f"x{side}" for side in sides))
    return ",".join(shapes)


def _write_program(path: Path, text: str) -> None:
    """Write an executable file, whole or not at all."""
    with replace_files([path]) as (partial,):
        partial.write_text(text, encoding="utf-8")
        partial.chmod(0o755)
