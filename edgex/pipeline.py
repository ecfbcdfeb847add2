"""The order of the stages: from a model file to a directory of artifacts, and from artifacts to figures.

The only module that knows which stage follows which. Each function here is a command of the same name.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from edgex.dataset import Dataset, open_dataset
from edgex.errors import DataError, ModelError, UsageError
from edgex.graph.ir import Affine, Array, Graph
from edgex.graph.passes import prepare
from edgex.graph.read import read_model
from edgex.lint import lint_file
from edgex.manifest import artifact_record, file_record, write_manifest
from edgex.output import replace_directory
from edgex.plan import QuantizationPlan
from edgex.preprocess import Preprocessing, Resize, Scale
from edgex.quantize.observers import Method
from edgex.quantize.ptq import PtqOptions, quantize_ptq
from edgex.records import Artifact, ArtifactKind
from edgex.resources import calib_data_dir, demo_model
from edgex.runtime import physical_cores
from edgex.target import TargetProfile
from edgex.write.onnx import OnnxForm, onnx_model
from edgex.write.tflite import tflite_model

PLAN_NAME = "plan.json"
ENOUGH_IMAGES = 32
"""Below this many calibration images their draw begins to show in the accuracy."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and how many there are."""


def _silent(_what: str, _done: int, _total: int) -> None:
    pass


@dataclass(frozen=True)
class QuantizeOptions:
    """What ``edgex quantize`` can be told; the defaults are what it does untold.

    Attributes:
        calib_count: calibration images at most.
        calib_seed: which ones, where there are more.
        method: how images become ranges, see :mod:`edgex.quantize.observers`.
        equalize: whether to even out depthwise channels.
        keep_float: regular expression; layers whose name it finds stay in float.
        io: type of the model's ends.
        preprocess: how pixels are scaled; None for the model's own layer if it has one, else ``xception``.
        resize: how images are brought to the input size.
        input_size: height and width to write the model for; None for its own.
        max_bad: unreadable calibration images to put up with.
        threads: None for the physical cores. The artifacts do not depend on it.
    """

    calib_count: int = 256
    calib_seed: int = 0
    method: Method = "average"
    equalize: bool = True
    keep_float: str | None = None
    io: Literal["float", "int8"] = "float"
    preprocess: Scale | None = None
    resize: Resize = "stretch"
    input_size: int | None = None
    max_bad: int = 0
    threads: int | None = None

    @property
    def keep_float_pattern(self) -> re.Pattern[str] | None:
        """The compiled ``keep_float``. UsageError if it is none."""
        if self.keep_float is None:
            return None
        try:
            return re.compile(self.keep_float)
        except re.error as error:
            raise UsageError(
                f"--keep-float {self.keep_float!r} is not a regular expression: {error}.",
                fix="A layer's name is one; quote what is special with a backslash.",
            ) from error

    def recipe(self) -> dict[str, Any]:
        """The options that shape the artifacts, for the manifest."""
        return {name: value for name, value in asdict(self).items() if name != "threads"}


@dataclass(frozen=True)
class WrittenDirectory:
    """What ``quantize`` and ``export`` hand back.

    Attributes:
        artifacts: in the target's order, the main one first.
        warnings: sentences about what is odd but usable.
    """

    directory: Path
    artifacts: tuple[Artifact, ...]
    warnings: tuple[str, ...]


def quantize(
    model: Path,
    target: TargetProfile,
    calib: str | Path,
    output: Path,
    options: QuantizeOptions | None = None,
    progress: Progress = _silent,
) -> WrittenDirectory:
    """Quantize a model after training and write the target's artifacts, its plan and a manifest.

    Args:
        model: a ``.keras`` or ``.h5`` file.
        target: see :func:`edgex.target.load_target`.
        calib: images for calibration, see :mod:`edgex.dataset`; labels are not needed.
        output: directory to write; its parent exists.

    Raises:
        EdgexError: as the stages raise it. ModelError if the linter finds fault with what was written.
    """
    options = options or QuantizeOptions()
    keep_float = options.keep_float_pattern
    with replace_directory(output) as work:
        graph = _read(model, options)
        preprocessing = _preprocessing(graph, options)
        dataset = open_dataset(calib, role="calibration", max_bad=options.max_bad)
        dataset = dataset.sample(options.calib_count, options.calib_seed)
        pixels = _PixelCheck(dataset)
        threads = options.threads or physical_cores()
        prepared = prepare(graph)
        writer = _ArtifactWriter(work, model.stem, target, prepared)
        kinds = target.artifacts
        # Float first: after calibration their bytes would come on top of what the runtime then holds
        artifacts = {kind: writer.float(kind) for kind in kinds if kind.precision != "int8"}
        result = quantize_ptq(
            prepared,
            pixels.watch(_named_images(dataset, preprocessing)),
            PtqOptions(
                scheme=target.activations,
                method=options.method,
                equalize=options.equalize,
                keep_float=keep_float,
                integer_io=options.io == "int8",
                workers=threads,
            ),
            lambda done: progress("calibrate", done, len(dataset)),
        )
        plan = _with_sources(result.plan, graph.notes, dataset, preprocessing, options.calib_seed)
        (work / PLAN_NAME).write_text(plan.to_json(), encoding="utf-8")
        for kind in [kind for kind in kinds if kind.precision == "int8"]:
            progress("write", len(artifacts), len(kinds))
            named = kind if keep_float is None else kind._replace(precision="mixed")
            artifacts[kind] = writer.int8(named, result.graph, plan, integer_io=options.io == "int8")
        progress("write", len(kinds), len(kinds))
        in_order = [artifacts[kind] for kind in kinds]
        _lint(in_order, target, plan.kept_float)
        manifest = write_manifest(
            work,
            artifacts=in_order,
            source=file_record(model),
            data=_data_record(calib, dataset),
            target={"name": target.name, **target.options},
            preprocessing=preprocessing.to_json(),
            recipe=options.recipe(),
        )
    warnings = [
        *graph.notes,
        *data_warnings(dataset),
        *pixels.warnings(),
        *_calibration_warnings(model, calib, pixels.seen, plan),
    ]
    return WrittenDirectory(output, _placed(manifest.artifacts, output), tuple(warnings))


def export(
    model: Path,
    target: TargetProfile,
    output: Path,
    options: QuantizeOptions | None = None,
    progress: Progress = _silent,
) -> WrittenDirectory:
    """Write the target's float artifacts and a manifest; arguments and errors as :func:`quantize`."""
    options = options or QuantizeOptions()
    kinds = [kind for kind in target.artifacts if kind.precision != "int8"]
    with replace_directory(output) as work:
        graph = _read(model, options)
        writer = _ArtifactWriter(work, model.stem, target, prepare(graph))
        artifacts = []
        for done, kind in enumerate(kinds):
            progress("write", done, len(kinds))
            artifacts.append(writer.float(kind))
        progress("write", len(kinds), len(kinds))
        _lint(artifacts, target, ())
        manifest = write_manifest(
            work,
            artifacts=artifacts,
            source=file_record(model),
            data={},
            target={"name": target.name, **target.options},
            preprocessing=_preprocessing(graph, options).to_json(),
            recipe={"input_size": options.input_size},
        )
    return WrittenDirectory(output, _placed(manifest.artifacts, output), graph.notes)


@dataclass(frozen=True)
class _ArtifactWriter:
    """Writes one artifact after another into a directory, under names that say what they are."""

    directory: Path
    stem: str
    target: TargetProfile
    prepared: Graph

    def float(self, kind: ArtifactKind) -> Artifact:
        """The model as it was given."""
        if kind.format == "tflite":
            return self._save(kind, tflite_model(self.prepared))
        float_type: Literal["float32", "float16"] = "float16" if kind.precision == "fp16" else "float32"
        form = OnnxForm(opset=self.target.opset, float_type=float_type)
        return self._save(kind, onnx_model(self.prepared, None, form).SerializeToString())

    def int8(self, kind: ArtifactKind, graph: Graph, plan: QuantizationPlan, *, integer_io: bool) -> Artifact:
        """The quantized model."""
        if kind.format == "tflite":
            return self._save(kind, tflite_model(graph, plan, integer_io=integer_io))
        rules = self.target.onnx
        form = OnnxForm(
            opset=self.target.opset,
            activation_type=rules.activation_type,
            bias=rules.bias,
            integer_io=integer_io,
        )
        return self._save(kind, onnx_model(graph, plan, form).SerializeToString())

    def _save(self, kind: ArtifactKind, content: bytes) -> Artifact:
        path = self.directory / f"{self.stem}.{kind}"
        path.write_bytes(content)
        return artifact_record(path, kind)


def _read(model: Path, options: QuantizeOptions) -> Graph:
    graph = read_model(model, input_size=options.input_size)
    if len(graph.inputs) != 1 or len(graph.shapes[graph.inputs[0].name]) != 3:
        shapes = {node.name: graph.shapes[node.name] for node in graph.inputs}
        raise ModelError(f"{model} does not read one image: its inputs are {shapes}.", fix="Give an image classifier.")
    return graph


def _preprocessing(graph: Graph, options: QuantizeOptions) -> Preprocessing:
    height, width, channels = graph.shapes[graph.inputs[0].name]
    first = graph.consumers[graph.inputs[0].name]
    own = bool(first) and all(isinstance(node.op, Affine) for node in first)
    scale: Scale = options.preprocess or ("none" if own else "xception")
    return Preprocessing(size=(height, width), channels=channels, scale=scale, resize=options.resize)


def _named_images(dataset: Dataset, preprocessing: Preprocessing) -> Iterator[tuple[str, Array]]:
    names = dataset.names
    for indices, images in dataset.batches(preprocessing):
        yield names[int(indices[0])], images


@dataclass
class _PixelCheck:
    """Watches images pass, for those of one colour."""

    dataset: Dataset
    seen: int = 0
    constant: list[str] = field(default_factory=list)

    def watch(self, images: Iterator[tuple[str, Array]]) -> Iterator[tuple[str, Array]]:
        """The images. DataError at the end if there was none, or every one is of one colour."""
        for name, image in images:
            self.seen += 1
            if (image == image[:, :1, :1]).all():
                self.constant.append(name)
            yield name, image
        if not self.seen:
            raise DataError(f"No image in {self.dataset.source.path} can be read.", fix="Give images that can.")
        if len(self.constant) == self.seen:
            raise DataError(
                f"All images in {self.dataset.source.path} are of one colour each.",
                fix="Calibrate with images like those the model will see.",
            )

    def warnings(self) -> list[str]:
        if not self.constant:
            return []
        return [f"{len(self.constant)} of {self.seen} calibration images are of one colour, first {self.constant[0]}."]


def _with_sources(
    plan: QuantizationPlan, notes: Sequence[str], dataset: Dataset, preprocessing: Preprocessing, seed: int
) -> QuantizationPlan:
    """The plan, saying also which images it comes from, and what was done to them and to the model."""
    sources = [
        [name, content]
        for name, content in zip(dataset.names, dataset.content_hashes, strict=True)
        if name not in dataset.log.unreadable
    ]
    origin = {"notes": list(notes), "seed": seed, "preprocessing": preprocessing.to_json(), "sources": sources}
    return replace(plan, calibration={**plan.calibration, **origin})


def data_warnings(dataset: Dataset) -> list[str]:
    """Sentences about what is odd in a dataset whose images have been read."""
    unreadable = sorted(dataset.log.unreadable.values())
    if not unreadable:
        return list(dataset.warnings)
    shown = "; ".join(unreadable[:10])
    return [*dataset.warnings, f"{len(unreadable)} of {len(dataset)} images were left out: {shown}."]


def _data_record(calib: str | Path, dataset: Dataset) -> dict[str, Any]:
    """What the manifest says of images that have been read; their names are in the plan."""
    return {
        "name": Path(calib).name,  # without its folder, so that the manifest does not depend on where it lay
        "images": len(dataset) - len(dataset.log.unreadable),
        "unreadable": len(dataset.log.unreadable),
        "turned_by_exif": len(dataset.log.reoriented),
        "other_files": dataset.ignored,
        "fingerprint": dataset.fingerprint,
    }


def _calibration_warnings(model: Path, calib: str | Path, images: int, plan: QuantizationPlan) -> list[str]:
    warnings = []
    if images < ENOUGH_IMAGES:
        warnings.append(f"Only {images} calibration images; {ENOUGH_IMAGES} or more give steadier ranges.")
    demo_images = str(calib) == "digits" or Path(calib).resolve() == calib_data_dir().resolve()
    if demo_images and file_record(model).sha256 != file_record(demo_model()).sha256:
        warnings.append("The calibration images are the demo's handwritten digits, and the model is not the demo's.")
    odd = plan.calibration["odd_images"]
    shown = [
        f"image {image['image']} drives the range of {image['tensors']} tensors, {image['factor']:.0f}× the median"
        for image in odd[:3]
    ]
    if odd:
        count = plan.calibration["odd_image_count"]
        more = f", and {count - len(shown)} more images" if count > len(shown) else ""
        warnings.append(f"Out of line: {'; '.join(shown)}{more}. They were {plan.calibration['odd_images_were']}.")
    flat = [name for name, span in plan.ranges.items() if span.low == span.high]
    if flat:
        warnings.append(f"{len(flat)} tensors are zero on all calibration images, first {flat[0]}.")
    return warnings


def _lint(artifacts: Sequence[Artifact], target: TargetProfile, kept_float: Sequence[str]) -> None:
    """ModelError if a rule of the target is broken, but for nodes that the plan keeps in float."""
    allowed = re.compile("|".join(f"^{re.escape(name)}$" for name in kept_float)) if kept_float else None
    for artifact in artifacts:
        findings = lint_file(artifact.path, target, allow_float=allowed)
        if findings:
            shown = "\n".join(f"  {finding}" for finding in findings[:10])
            raise ModelError(
                f"{artifact.path.name} breaks {len(findings)} rules of the target {target.name}:\n{shown}",
                fix="Leave the layers named in float with --keep-float, or choose another target.",
            )


def _placed(artifacts: Sequence[Artifact], directory: Path) -> tuple[Artifact, ...]:
    """The artifacts, where they lie now that their directory has its name."""
    return tuple(replace(artifact, path=directory / artifact.path.name) for artifact in artifacts)
