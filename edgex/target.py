"""Target profiles: what a kind of device wants of an artifact. Data, one TOML file each.

A profile is read from ``targets/NAME.toml``, or from any file whose path ends in ``.toml``. It may have variants,
tables of keys that take the place of the general ones: ``[arch.arm]`` is chosen by ``--arch arm``,
``[jetpack."6.2"]`` by ``--jetpack 6.2``. The first in the file is the default; what is chosen never depends on the
machine that builds.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, field_validator

from edgex.errors import RuntimeMissingError, UsageError
from edgex.records import ArtifactKind
from edgex.strict_toml import StrictModel, validated
from edgex.toml_file import read_toml

VARIANTS = ("arch", "jetpack")
"""Keys that are tables of variants in the file, and the variant chosen in the profile."""

WRITTEN = tuple(map(ArtifactKind.parse, ("int8.onnx", "int8.tflite", "fp16.onnx", "fp32.onnx", "fp32.tflite")))
"""The artifacts that a target can ask for; int8 ones are called mixed where layers are left in float."""


class OnnxRules(StrictModel):
    """How a target wants its ONNX files.

    Attributes:
        opset: to write, of the default domain.
        opset_limit: the highest that the target's runtimes read; None where none is known.
        activation_type: of quantized activations.
        bias: ``int32`` at the accumulator's scale, or ``float``.
        operators: those of the default domain that the target has; None for all.
    """

    opset: int = Field(ge=13, le=24)  # the first that quantizes per channel, and the last that edgex writes
    opset_limit: int | None = Field(default=None, ge=13)
    activation_type: Literal["uint8", "int8"]
    bias: Literal["int32", "float"]
    operators: tuple[str, ...] | None = None


class Board(StrictModel):
    """What runs on a board: JetPack's own versions, as NVIDIA lists them."""

    modules: tuple[str, ...]
    python: str
    cuda: str
    tensorrt: str


def _kind(value: object) -> ArtifactKind:
    kind = ArtifactKind.parse(str(value))
    if kind not in WRITTEN:
        raise ValueError(f"edgex writes {', '.join(map(str, WRITTEN))}")
    return kind


class TargetProfile(StrictModel):
    """One target, its variant chosen.

    Attributes:
        name: as on the command line and in manifests.
        summary: one line for ``edgex targets``.
        activations: the scheme of :mod:`edgex.plan`.
        artifacts: what ``quantize`` writes, the main one first.
        runs_on: sentences: which artifact runs where.
        compiled: what builds a form of its own of an artifact: ``tensorrt`` on the device, the others ahead.
        sparsity: the kinds of pruning that make it faster, best first.
        channel_multiple: what the widths of layers are best multiples of.
        onnx: rules for ONNX files.
        board: versions on the board; None where the target is not a board.
        arch: the variant chosen; None where the target has none of the kind. In the file, a table of variants.
        jetpack: the same.
    """

    name: str
    summary: str
    activations: Literal["asymmetric", "symmetric"]
    artifacts: tuple[Annotated[ArtifactKind, BeforeValidator(_kind)], ...]
    runs_on: tuple[str, ...]
    compiled: tuple[Literal["openvino", "onnxruntime", "tensorrt"], ...] = ()
    sparsity: tuple[Literal["channels", "2:4"], ...]
    channel_multiple: PositiveInt = 8
    onnx: OnnxRules
    board: Board | None = None
    arch: str | None = None
    jetpack: str | None = None

    @field_validator("name")
    @classmethod
    def _no_path(cls, name: str) -> str:
        if not re.fullmatch(r"\w[\w.-]{0,99}", name):
            raise ValueError("folders are named after it: at most 100 letters, digits and the signs . - _")
        return name

    @field_validator("artifacts")
    @classmethod
    def _with_baseline(cls, artifacts: tuple[ArtifactKind, ...]) -> tuple[ArtifactKind, ...]:
        if ArtifactKind("fp32", "onnx") not in artifacts:
            raise ValueError("fp32.onnx must be among them, it is the baseline that the others are judged by")
        return artifacts

    @property
    def opset(self) -> int:
        """The opset to write: what the profile prefers, or less where the limit is lower."""
        return min(self.onnx.opset, self.onnx.opset_limit or self.onnx.opset)

    @property
    def options(self) -> dict[str, str]:
        """The variants chosen, as on the command line: ``{"jetpack": "6.2"}``."""
        chosen = {variant: getattr(self, variant) for variant in VARIANTS}
        return {variant: name for variant, name in chosen.items() if name is not None}


def target_names(folder: Path | None = None) -> tuple[str, ...]:
    """The targets that ship with edgex, in alphabetical order."""
    return tuple(sorted(file.stem for file in (folder or _shipped_targets()).glob("*.toml")))


def load_target(
    name_or_path: str, *, arch: str | None = None, jetpack: str | None = None, targets_dir: Path | None = None
) -> TargetProfile:
    """The profile of a target.

    Args:
        name_or_path: a shipped target, or a path that ends in ``.toml``.
        arch: of a CPU target, ``x86`` or ``arm``.
        jetpack: of a Jetson target, e.g. ``6.2``.
        targets_dir: where to look for names, if not among the shipped ones.

    Raises:
        RuntimeMissingError: no such target.
        UsageError: the file is wrong, or the target has no such variant.
    """
    file = _file(name_or_path, targets_dir or _shipped_targets())
    document = read_toml(file)
    tables = {variant: _variants(document.pop(variant, {}), variant, file) for variant in VARIANTS}
    validated(TargetProfile, document, file)
    for variant, table in tables.items():
        for name, changes in table.items():  # a fault in any of them shows, whichever is asked for
            validated(TargetProfile, _merged(document, changes), file, f"{variant}.{name}")
    for variant, asked in (("arch", arch), ("jetpack", jetpack)):
        chosen = _chosen(tables[variant], variant, asked, file)
        if chosen is not None:
            document = {**_merged(document, tables[variant][chosen]), variant: chosen}
    return validated(TargetProfile, document, file)


def _shipped_targets() -> Path:
    from edgex.resources import targets_dir

    return targets_dir()


def not_its_latency(name: str) -> list[str]:
    """A sentence about latencies measured here, where the hardware of the target of a name is not this machine."""
    return [] if name == "cpu" else [f"Latency is this machine's, not that of the target {name}."]


def _file(name_or_path: str, folder: Path) -> Path:
    if name_or_path.endswith(".toml"):
        return Path(name_or_path)
    if name_or_path not in target_names(folder):
        raise RuntimeMissingError(
            f"There is no target {name_or_path!r}.",
            fix=f"Choose one of {', '.join(target_names(folder))}, or give the path of a .toml file.",
        )
    return folder / f"{name_or_path}.toml"


def _variants(table: Any, variant: str, file: Path) -> dict[str, dict[str, Any]]:
    if isinstance(table, dict) and all(isinstance(changes, dict) for changes in table.values()):
        return table
    raise UsageError(f"{file}: {variant} is not a table of variants.", fix=f"Write [{variant}.NAME] and its keys.")


def _chosen(table: dict[str, dict[str, Any]], variant: str, asked: str | None, file: Path) -> str | None:
    if asked is None:
        return next(iter(table), None)
    if asked not in table:
        has = f"--{variant} is one of {', '.join(table)}" if table else f"Leave --{variant} out"
        raise UsageError(f"The target {file.stem} has no {variant} {asked!r}.", fix=f"{has}.")
    return asked


def _merged(general: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``general`` with some of its keys changed; tables are merged, everything else is replaced."""
    both = {
        key: _merged(general[key], value) if isinstance(value, dict) and isinstance(general.get(key), dict) else value
        for key, value in changes.items()
    }
    return general | both
