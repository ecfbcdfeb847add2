"""Why INT8 is not faster: where the time of the INT8 files goes, beside that of the float ones."""

from collections import Counter
from collections.abc import Callable, Sequence

from edgex.bench.block import Contender
from edgex.bench.operations import Operation, OperationProfile, profile_operations
from edgex.execute import logits_name
from edgex.graph.ir import Graph, Softmax
from edgex.records import Artifact
from edgex.runtime import installed_runtimes, runtimes_for
from edgex.sensitivity.record import FileSpeed, OperationKind
from edgex.sensitivity.subject import Subject

SECONDS = 1.0
"""About how long each file is profiled."""

FASTER = 1.15
"""A smaller speed-up of some operations a profile cannot tell from none."""

WORTH_SAYING = 0.03
"""Of the time of a run: what takes less is no cause."""

NAMED = 5
"""Layers that a sentence lists."""


def explain_speed(subject: Subject, threads: int, progress: Callable[[int, int], None]) -> tuple[FileSpeed, ...]:
    """Profile the INT8 files and their float twins in their usual runtimes, and say what slows the former down.

    Args:
        subject: its artifacts are still in place.
        threads: that one inference may use.
        progress: called with files done and files in all.

    Raises:
        EdgexError: as :func:`edgex.bench.operations.profile_operations`.
    """
    artifacts = subject.written.artifacts
    twins = {artifact.format: artifact for artifact in artifacts if artifact.precision == "fp32"}
    quantized = [artifact for artifact in artifacts if artifact.precision in ("int8", "mixed")]
    found = []
    for done, artifact in enumerate(quantized, start=1):
        twin = twins.get(artifact.format)
        own, of_twin = _profile(artifact, threads), None if twin is None else _profile(twin, threads)
        found.append(explain(own, of_twin, subject.graph))
        progress(done, len(quantized))
    return tuple(found)


def _profile(artifact: Artifact, threads: int) -> OperationProfile:
    runtime, *_ = runtimes_for(artifact.path, installed_runtimes())
    return profile_operations(Contender(artifact.path, runtime, threads), SECONDS)


def explain(own: OperationProfile, twin: OperationProfile | None, graph: Graph) -> FileSpeed:
    """Read the profiles of an INT8 file and of its float twin.

    Args:
        own: of the INT8 file.
        twin: of the float file in the same runtime; None if there is none.
        graph: of both.
    """
    kinds = _kinds(own, twin, graph)
    conversions = [operation for operation in own.operations if operation.precision == "conversion"]
    causes = (
        _headline(own, twin),
        *_not_faster(kinds),
        _in_float(own, graph),
        *_converted(own, conversions, graph),
        *_between_operations(own),
    )
    return FileSpeed(
        name=own.path.name,
        runtime=own.runtime,
        ms=own.total_ms,
        float_ms=None if twin is None else twin.total_ms,
        kinds=kinds,
        in_float=own.in_float,
        conversions=tuple(dict.fromkeys(operation.layer for operation in conversions)),
        causes=causes,
    )


def _kinds(own: OperationProfile, twin: OperationProfile | None, graph: Graph) -> tuple[OperationKind, ...]:
    groups: dict[tuple[str, str], list[Operation]] = {}
    for operation in own.operations:
        groups.setdefault((_kind(operation, graph), operation.precision), []).append(operation)
    float_ms: dict[str, float] = {}
    for operation in () if twin is None else twin.operations:
        if operation.precision != "conversion":
            float_ms[operation.layer] = float_ms.get(operation.layer, 0.0) + operation.ms
    kinds = []
    for (name, precision), operations in groups.items():
        layers = {operation.layer for operation in operations if precision != "conversion"} & float_ms.keys()
        kind = OperationKind(
            operation=name,
            precision=precision,
            count=len(operations),
            ms=_ms(operations),
            share=_share(operations),
            float_ms=sum(float_ms[layer] for layer in sorted(layers)) if layers else None,
        )
        kinds.append(kind)
    return tuple(sorted(kinds, key=lambda kind: -kind.ms))


def _kind(operation: Operation, graph: Graph) -> str:
    """What the graph calls it, whichever operations the runtime has for that."""
    ours = operation.precision != "conversion" and operation.layer in graph
    return type(graph[operation.layer].op).__name__ if ours else operation.op


def _ms(operations: Sequence[Operation]) -> float:
    return sum(operation.ms for operation in operations)


def _share(operations: Sequence[Operation]) -> float:
    return min(sum(operation.share for operation in operations), 1.0)


# Sentences


def _headline(own: OperationProfile, twin: OperationProfile | None) -> str:
    if twin is None:
        return f"It takes {own.total_ms:.3g} ms."
    ratio = twin.total_ms / own.total_ms
    return f"It takes {own.total_ms:.3g} ms and its float twin {twin.total_ms:.3g} ms: {ratio:.2f}× as fast."


def _not_faster(kinds: Sequence[OperationKind]) -> list[str]:
    return [
        f"{kind.count} × {kind.operation} take {_percent(kind.share)} of the time and gain nothing from INT8: "
        f"{kind.ms:.3g} ms, and {kind.float_ms:.3g} ms in float."
        for kind in kinds
        if kind.precision == "int8"
        and kind.float_ms is not None
        and kind.share > WORTH_SAYING
        and kind.float_ms < FASTER * kind.ms
    ]


def _in_float(own: OperationProfile, graph: Graph) -> str:
    """The final softmax is in float on purpose."""
    layers = {name for name in own.in_float if name not in graph or not isinstance(graph[name].op, Softmax)}
    operations = [each for each in own.operations if each.precision == "float" and each.layer in layers]
    if not operations:
        return "Nothing but the softmax runs in float."
    named = _listed([operation.layer for operation in operations])
    count = f"{len(operations)} of {len(own.operations)} operations"
    return f"In float: {count}, {_percent(_share(operations))} of the time: {named}."


def _converted(own: OperationProfile, conversions: Sequence[Operation], graph: Graph) -> list[str]:
    """Of the pairs that are not fused, and of changes of the layout."""
    reorders = [each for each in conversions if each.op.lower().startswith("reorder")]
    ends = {*(node.name for node in graph.inputs), logits_name(graph)}
    inside = [
        each
        for each in conversions
        if each not in reorders and each.layer not in ends and each is not own.operations[0]
    ]
    said = []
    if inside:
        layers = [each.layer for each in inside]
        said.append(
            f"Unfused: {len(inside)} quantizations and dequantizations, {_percent(_share(inside))} of the time: "
            f"{_listed(layers)}."
        )
        made = {each.layer for each in inside if each.op.lower().startswith("quantize")}
        read = {each.layer for each in inside if each.op.lower().startswith("dequantize")}
        between = Counter(
            type(node.op).__name__
            for node in graph.nodes
            if node.name in made and {*node.inputs} & read and node.name not in own.in_float
        )
        said += [f"Between them stand {count} × {name}." for name, count in between.items()]
    if reorders:
        said.append(f"Changes of the layout: {len(reorders)}, {_percent(_share(reorders))} of the time.")
    return said


def _between_operations(own: OperationProfile) -> list[str]:
    rest = 1 - own.operations_ms / own.total_ms
    if rest < WORTH_SAYING:
        return []
    return [f"{_percent(rest)} of a run the runtime spends between the operations."]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _listed(layers: Sequence[str]) -> str:
    names = list(dict.fromkeys(layers))
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
