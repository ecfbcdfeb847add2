"""What a run is told, and the hash of all that each of its stages follows from."""

import platform
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgex.cpu import read_cpu
from edgex.dataset import Role, open_dataset
from edgex.manifest import LIBRARIES, MANIFEST_NAME, file_record
from edgex.pipeline import QuantizeOptions
from edgex.pipeline.stages import key_of
from edgex.pipeline.training import TRAINING_LIBRARIES
from edgex.runtime import describe_python, physical_cores
from edgex.sensitivity import SENSITIVITY_NAME
from edgex.target import TargetProfile
from edgex.validate import ValidateOptions

ARCHIVES = (".npz", ".zip")
"""Files that hold images whole: to hash one is faster than to hash each image in it."""


@dataclass(frozen=True)
class Recipe:
    """From which model and images to make what, how, and what it must keep.

    Attributes:
        model: a ``.keras``, ``.h5`` or float ``.onnx`` file.
        target: see :func:`edgex.target.load_target`.
        calib: images for calibration, see :mod:`edgex.dataset`.
        data: labelled images that neither calibration nor training saw, to validate on.
        output: directory to write; its parent exists.
        train: images for pruning and training, where ``quantize`` wants them.
        quantize: options of :func:`edgex.pipeline.quantize`.
        validate: options of :func:`edgex.validate.validate`; the gate judges by their limits.
        baseline: the model that the fp32 files are of, if ``model`` was made from another.
    """

    model: Path
    target: TargetProfile
    calib: str | Path
    data: str | Path
    output: Path
    train: str | Path | None = None
    quantize: QuantizeOptions = field(default_factory=QuantizeOptions)
    validate: ValidateOptions = field(default_factory=ValidateOptions)
    baseline: Path | None = None

    def quantize_key(self) -> str:
        """Of all that the artifacts follow from. EdgexError if the model or images cannot be read."""
        trains = self.train is not None
        return key_of(
            model=asdict(file_record(self.model)),  # its name too, which the artifacts bear
            baseline=None if self.baseline is None else asdict(file_record(self.baseline)),
            target=self.target.model_dump(mode="json"),
            calib=_images(self.calib, "calibration", self.quantize.max_bad),
            train=None if self.train is None else _images(self.train, "training", self.quantize.max_bad),
            recipe=self.quantize.recipe(),
            threads=(self.quantize.threads or physical_cores()) if trains else None,
            versions=_versions(*LIBRARIES, *(TRAINING_LIBRARIES if trains else ())),
        )

    def validate_key(self) -> str:
        """Of all that the report on the artifacts in ``output`` follows from. EdgexError as above."""
        options = replace(self.validate, threads=self.validate.threads or physical_cores())
        apart = ("labels", "limits")  # the former are part of the images, the latter only of the verdict
        found = self.output / SENSITIVITY_NAME
        return key_of(
            artifacts=file_record(self.output / MANIFEST_NAME).sha256,
            sensitivity=file_record(found).sha256 if found.is_file() else None,
            data=_images(self.data, "evaluation", options.max_bad, options.labels),
            options={name: str(value) for name, value in asdict(options).items() if name not in apart},
            cpu=read_cpu().name,
            runtimes=describe_python(options.python),
            versions=_versions(*LIBRARIES),
        )


def _images(spec: str | Path, role: Role, max_bad: int, labels: Path | None = None) -> str:
    """A hash of the images and their labels."""
    path = Path(spec)
    if labels is None and path.suffix.lower() in ARCHIVES and path.is_file():
        return file_record(path).sha256
    dataset = open_dataset(spec, role=role, labels=labels, max_bad=max_bad)
    return key_of(images=dataset.fingerprint, classes=dataset.class_names)


def _versions(*libraries: str) -> dict[str, str | None]:
    """Of what can change a byte; None for a library that is missing, on which the stage that needs it has words."""
    from edgex import __version__

    def found(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    return {"edgex": __version__, "python": platform.python_version(), **{name: found(name) for name in libraries}}
