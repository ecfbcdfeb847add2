"""From a model file and calibration images to a float graph and a plan."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgex.dataset import Dataset, open_dataset
from edgex.errors import DataError, ModelError
from edgex.execute import gives_scores, logits_name
from edgex.graph.ir import Affine, Array, Graph
from edgex.graph.passes import prepare
from edgex.manifest import file_record
from edgex.pipeline.onnx_parity import read_compared
from edgex.pipeline.options import QuantizeOptions
from edgex.pipeline.origin import Origin, origin_of
from edgex.pipeline.progress import Progress
from edgex.plan import QuantizationPlan
from edgex.preprocess import Preprocessing, Resize, Scale
from edgex.quantize.climb import Rung, climb
from edgex.quantize.layout import quantization_layout
from edgex.quantize.ptq import PtqOptions, quantize_ptq
from edgex.resources import calib_data_dir, demo_model
from edgex.runtime import physical_cores
from edgex.target import TargetProfile
from edgex.write.onnx_form import int8_form

ENOUGH_IMAGES = 32
"""Below this many calibration images their draw begins to show in the accuracy."""


@dataclass(frozen=True)
class ModelFile:
    """A model as read.

    Attributes:
        as_read: the graph with its batch norm.
        graph: prepared for planners and writers.
        preprocessing: of the images it reads.
        notes: sentences about what reading did to it.
        origin: what the file says of how edgex made it.
    """

    path: Path
    as_read: Graph
    graph: Graph
    preprocessing: Preprocessing
    notes: tuple[str, ...]
    origin: Origin | None


@dataclass(frozen=True)
class Calibrated:
    """A float graph and the plan that calibration made for it.

    Attributes:
        graph: equalized, its weights adapted, if that was asked for.
        dataset: the calibration images.
        rungs: what ``auto`` tried.
        warnings: sentences about what is odd but usable.
    """

    graph: Graph
    plan: QuantizationPlan
    dataset: Dataset
    rungs: tuple[Rung, ...]
    warnings: tuple[str, ...]


def read_model_file(model: Path, options: QuantizeOptions) -> ModelFile:
    """Read and prepare a network that reads one image.

    Raises:
        ModelError: it reads something else. Other EdgexErrors as :func:`edgex.pipeline.onnx_parity.read_compared`.
    """
    graph = read_compared(model, input_size=options.input_size)
    if len(graph.inputs) != 1 or len(graph.shapes[graph.inputs[0].name]) != 3:
        shapes = {node.name: graph.shapes[node.name] for node in graph.inputs}
        raise ModelError(
            f"{model} does not read one image: its inputs are {shapes}.", fix="Give a model that reads one image."
        )
    origin = origin_of(model)
    preprocessing = preprocessing_of(graph, origin, options.preprocess, options.resize)
    return ModelFile(model, graph, prepare(graph), preprocessing, graph.notes, origin)


def calibration_images(calib: str | Path, options: QuantizeOptions, count: int | None = None) -> Dataset:
    """Those that the options choose, or the first ``count`` of them."""
    dataset = open_dataset(calib, role="calibration", max_bad=options.max_bad)
    most = options.calib_count if count is None else min(count, options.calib_count)
    return dataset.sample(most, options.calib_seed)


def check_calibration(model: ModelFile, calib: str | Path, options: QuantizeOptions) -> None:
    """Refuse what :func:`calibrate` would refuse, before anything takes its time; errors as of it."""
    calibration_images(calib, options)
    quantization_layout(model.graph, options.keep_float_pattern, integer_io=options.io == "int8")
    if options.method == "auto":
        expect_scores(model.graph, model.path, fix="Choose a method for its ranges yourself.")


def expect_scores(graph: Graph, path: Path, *, fix: str) -> None:
    """ModelError, with a fix, if a model does not score classes."""
    if not gives_scores(graph):
        shape = graph.shapes[logits_name(graph)]
        raise ModelError(f"{path} gives the shape {shape}, not scores of classes.", fix=fix)


def calibrate(
    model: ModelFile, target: TargetProfile, calib: str | Path, options: QuantizeOptions, progress: Progress
) -> Calibrated:
    """Quantize after training; arguments and errors as :func:`edgex.pipeline.quantize`."""
    dataset = calibration_images(calib, options)
    images = _Images(dataset, model.preprocessing)
    ptq = ptq_options(target, options)
    rungs: tuple[Rung, ...] = ()
    if options.method == "auto":
        form = int8_form(target, options.weight_bits)
        climbed = climb(model.graph, images, _labels(model.graph, dataset), ptq, form, options.budget, progress)
        result, rungs = climbed.ptq, climbed.rungs
    else:
        result = quantize_ptq(model.graph, images, ptq, progress)
    plan = _with_sources(result.plan, model, dataset, options.calib_seed)
    warnings = [
        *model.notes,
        *data_warnings(dataset),
        *images.warnings(),
        *_warnings(model.path, calib, plan),
    ]
    return Calibrated(result.graph, plan, dataset, rungs, tuple(warnings))


def ptq_options(target: TargetProfile, options: QuantizeOptions) -> PtqOptions:
    """How to quantize after training; where the method is to climb, how it begins."""
    return PtqOptions(
        scheme=target.activations,
        method="average" if options.method == "auto" else options.method,
        equalize=options.equalize,
        cross_layer=options.cross_layer,
        weight_bits=options.weight_bits,
        rounding=options.rounding,
        correct_bias=options.correct_bias,
        keep_float=options.keep_float_pattern,
        integer_io=options.io == "int8",
        workers=options.threads or physical_cores(),
    )


def data_warnings(dataset: Dataset) -> list[str]:
    """Sentences about what is odd in a dataset whose images have been read."""
    unreadable = sorted(dataset.log.unreadable.values())
    if not unreadable:
        return list(dataset.warnings)
    shown = "; ".join(unreadable[:10])
    return [*dataset.warnings, f"{len(unreadable)} of {len(dataset)} images were left out: {shown}."]


def preprocessing_of(graph: Graph, origin: Origin | None, scale: Scale | None, resize: Resize | None) -> Preprocessing:
    """Of the images that a network reads.

    Args:
        graph: of the network.
        origin: what its file says of how edgex made it.
        scale: None for that of its training, else for that of its own layer if it has one, else ``xception``.
        resize: None for that of its training, else ``stretch``.

    Raises:
        UsageError: there is no such scale or resize.
    """
    height, width, channels = graph.shapes[graph.inputs[0].name]
    own_scale, own_resize = own_preprocessing(graph, origin)
    return Preprocessing(
        size=(height, width),
        channels=channels,
        scale=scale or own_scale or "xception",
        resize=resize or own_resize or "stretch",
    )


def own_preprocessing(graph: Graph, origin: Origin | None) -> tuple[Scale | None, Resize | None]:
    """Scale and resize that a model's file tells itself; None of what it does not.

    They are those of its training, if edgex made it; a network that begins with a layer that scales takes pixels as
    they are. Arguments as of :func:`preprocessing_of`.
    """
    trained = {} if origin is None else origin.preprocessing
    return trained.get("scale") or ("none" if scales_itself(graph) else None), trained.get("resize")


def scales_itself(graph: Graph) -> bool:
    """Whether a network begins with a layer that scales its image."""
    first = graph.consumers[graph.inputs[0].name]
    return bool(first) and all(isinstance(node.op, Affine) for node in first)


def _labels(graph: Graph, dataset: Dataset) -> dict[str, int] | None:
    """Class index of each image, where the images are of the model's classes."""
    labels = dataset.labels
    if labels is None or graph.shapes[graph.outputs[0]] != (len(dataset.class_names),):
        return None
    return dict(zip(dataset.names, labels.tolist(), strict=True))


@dataclass
class _Images:
    """Calibration images by name, preprocessed; watched on their way for those of one colour."""

    dataset: Dataset
    preprocessing: Preprocessing
    constant: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[tuple[str, Array]]:
        """All of them. DataError at the end if there was none, or every one is of one colour."""
        seen = 0
        for (index,), image in self.dataset.batches(self.preprocessing):
            name = self.dataset.items[index].name
            seen += 1
            if (image == image[:, :1, :1]).all():
                self.constant.add(name)
            yield name, image
        path = self.dataset.source.path
        if not seen:
            raise DataError(f"No image in {path} can be read.", fix="Give images that can.")
        if len(self.constant) == seen:
            raise DataError(
                f"All images in {path} are of one colour each.",
                fix="Calibrate with images like those the model will see.",
            )

    def warnings(self) -> list[str]:
        if not self.constant:
            return []
        read = len(self) - len(self.dataset.log.unreadable)
        first = next(name for name in self.dataset.names if name in self.constant)
        return [f"{len(self.constant)} of {read} calibration images are of one colour, first {first}."]


def _with_sources(plan: QuantizationPlan, model: ModelFile, dataset: Dataset, seed: int) -> QuantizationPlan:
    """The plan, saying also which images it comes from, and what was done to them and to the model."""
    sources = [
        [name, content]
        for name, content in zip(dataset.names, dataset.content_hashes, strict=True)
        if name not in dataset.log.unreadable
    ]
    origin = {
        "notes": list(model.notes),
        "seed": seed,
        "preprocessing": model.preprocessing.to_json(),
        "sources": sources,
    }
    return replace(plan, calibration={**plan.calibration, **origin})


def _warnings(model: Path, calib: str | Path, plan: QuantizationPlan) -> Sequence[str]:
    warnings = []
    images = len(plan.calibration["sources"])
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
