"""``reproduce``: run what a manifest says again, and compare."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgex.dataset import Dataset, open_dataset
from edgex.errors import OutputError, UsageError
from edgex.manifest import MANIFEST_NAME, FileRecord, Manifest, Problem, file_record, read_manifest
from edgex.pipeline.calibration import calibration_images
from edgex.pipeline.options import QuantizeOptions
from edgex.pipeline.progress import Progress, silent
from edgex.pipeline.quantize import export, quantize
from edgex.preprocess import Preprocessing
from edgex.target import TargetProfile


@dataclass(frozen=True)
class Inputs:
    """What a directory was made from, wherever it lies now.

    Attributes:
        model: a ``.keras``, ``.h5`` or float ``.onnx`` file.
        target: see :func:`edgex.target.load_target`.
        calib: images for calibration; None for what was exported without.
        train: images for training, where there was some.
        baseline: the model that the fp32 files are of, where it is not ``model``.
    """

    model: Path
    target: TargetProfile
    calib: str | Path | None = None
    train: str | Path | None = None
    baseline: Path | None = None


@dataclass(frozen=True)
class Reproduction:
    """How a directory compares with one made anew.

    Attributes:
        problems: files that differ; empty if every byte is the same.
        changed: what is not as it was then, of versions and machine: then and now, by name.
    """

    directory: Path
    problems: tuple[Problem, ...]
    changed: Mapping[str, tuple[str, str]]


def reproduce(directory: Path, inputs: Inputs, progress: Progress = silent) -> Reproduction:
    """Do again what made an output directory, elsewhere, and compare each file with the manifest's hash of it.

    What is in the directory now is not looked at; for that there is :func:`edgex.manifest.verify`.

    Args:
        directory: that ``quantize`` or ``export`` wrote.
        inputs: see there; each is compared with what the manifest says of it, before the work.
        progress: see :func:`edgex.pipeline.quantize`.

    Raises:
        OutputError: there is no manifest of ours.
        UsageError: an input is missing or is not the one of then, or what was done depended on a measurement. Other
            EdgexErrors as of :func:`edgex.pipeline.quantize`.
    """
    manifest = read_manifest(directory)
    options = _options(manifest, directory)
    _check(manifest, inputs, options)
    with TemporaryDirectory(prefix="edgex-") as folder:
        output = Path(folder) / "again"
        if not manifest.data:
            export(inputs.model, inputs.target, output, options, progress, baseline=inputs.baseline)
        else:
            assert inputs.calib is not None
            quantize(
                inputs.model,
                inputs.target,
                inputs.calib,
                output,
                options,
                progress,
                train=inputs.train,
                baseline=inputs.baseline,
                measure=False,
            )
        again = read_manifest(output)
    return Reproduction(directory, _differences(manifest.contents, again.contents), _changed(manifest, again))


def _options(manifest: Manifest, directory: Path) -> QuantizeOptions:
    """Those of the manifest's recipe, and what was done to images then, whatever is untold now.

    Raises:
        OutputError: this edgex does not know them all. UsageError: the manifest's preprocessing is none.
    """
    from pydantic import TypeAdapter

    try:
        said = {**manifest.recipe, "threads": manifest.training.get("threads")}
        options = TypeAdapter(QuantizeOptions).validate_python(said)
        understood = {name: options.recipe().get(name) for name in manifest.recipe}
        if understood != manifest.recipe:
            raise ValueError("it has options that this edgex does not know")
    except (ValueError, TypeError) as error:
        raise OutputError(
            f"The recipe in the manifest of {directory} cannot be followed: {error}.",
            fix=f"Use the edgex that wrote it, {manifest.versions.get('edgex')}.",
        ) from error
    images = Preprocessing.from_json(manifest.preprocessing, str(directory / MANIFEST_NAME))
    return replace(options, preprocess=images.scale, resize=images.resize)


def _check(manifest: Manifest, inputs: Inputs, options: QuantizeOptions) -> None:
    """UsageError if the work could not give the same, because something it starts from is not the same."""
    if options.prune is not None and options.prune.latency is not None:
        raise UsageError(
            f"It was pruned to {options.prune.latency:g} of a latency, which another measurement would find elsewhere.",
            fix="Prune with --sparsity, by what pruning.json says, for what can be reproduced.",
        )
    target = {"name": inputs.target.name, **inputs.target.options}
    if target != manifest.target:
        raise UsageError(f"It was made for the target {_said(manifest.target)}, not {_said(target)}.", fix="Give that.")
    _expect_file("MODEL", inputs.model, manifest.source)
    if manifest.baseline is not None:
        _expect_file("--baseline", inputs.baseline, manifest.baseline)
    if manifest.data:
        _expect_images("--calib", inputs.calib, manifest.data, partial(calibration_images, options=options))
    if manifest.training:
        max_bad = options.max_bad
        _expect_images(
            "--train",
            inputs.train,
            manifest.training,
            lambda spec: open_dataset(spec, role="training", max_bad=max_bad),
        )


def _said(target: Mapping[str, str]) -> str:
    return " ".join(target.values())


def _expect_file(option: str, given: Path | None, wanted: FileRecord) -> None:
    if given is None:
        raise UsageError(f"{option} is missing: it was {wanted.name}.", fix=f"Give it with {option}.")
    if file_record(given) != wanted:
        raise UsageError(
            f"{given} is not the {wanted.name} of then, which has the SHA-256 {wanted.sha256}.",
            fix="Give that file, under the name it had.",
        )


def _expect_images(
    option: str, given: str | Path | None, wanted: Mapping[str, Any], opened: Callable[[str | Path], Dataset]
) -> None:
    if given is None:
        raise UsageError(f"{option} is missing: it was {wanted.get('name')}.", fix=f"Give it with {option}.")
    if Path(given).name != wanted.get("name") or opened(given).fingerprint != wanted.get("fingerprint"):
        raise UsageError(
            f"The images of {given} are not those of then, in {wanted.get('name')}.",
            fix="Give the same files, under the names that they had.",
        )


def _differences(then: Mapping[str, FileRecord], now: Mapping[str, FileRecord]) -> tuple[Problem, ...]:
    problems = []
    for name in dict.fromkeys([*then, *now]):
        if name not in now:
            problems.append(Problem(name, "was not written this time"))
        elif name not in then:
            problems.append(Problem(name, "was not written then"))
        elif then[name] != now[name]:
            problems.append(Problem(name, "came out otherwise"))
    return tuple(problems)


def _changed(then: Manifest, now: Manifest) -> dict[str, tuple[str, str]]:
    """Versions and machine, where they are not the same."""
    before, after = ({**manifest.versions, **manifest.machine} for manifest in (then, now))
    names = dict.fromkeys([*before, *after])
    return {
        name: (before.get(name, "none"), after.get(name, "none"))
        for name in names
        if before.get(name) != after.get(name)
    }
