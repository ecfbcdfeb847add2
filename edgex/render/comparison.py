"""What ``compare`` found, as tables and as JSON."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgex.console import out
from edgex.render.evaluations import unbounded
from edgex.render.plot import bars
from edgex.render.tables import MOST_PAIRS, new_table
from edgex.render.text import milliseconds, prefixed, size

if TYPE_CHECKING:
    from edgex.compare import ComparedModel, CompareReport, Int8Artifact, ModelLatency, ModelRatio
    from edgex.gate import AnyComparison


def compare_document(report: "CompareReport") -> dict[str, Any]:
    return {
        "results": [_model_document(model) for model in report.models],
        "ratios": [_ratio_document(report, ratio) for ratio in report.ratios],
        "measure": report.measure,
        "images": report.images,
        "notes": list(report.notes),
        "warnings": list(report.warnings),
    }


def _model_document(model: "ComparedModel") -> dict[str, Any]:
    counted = model.inspection
    keys = ("parameters", "trainable_parameters", "macs", "regular_macs", "bytes")
    return {
        "name": model.name,
        "weights": "fresh" if model.fresh else "file",
        "input": list(counted.layers[0].shape),
        **{key: getattr(counted, key) for key in keys},
        "preprocessing": None if model.preprocessing is None else model.preprocessing.to_json(),
        "int8": [_int8_document(artifact) for artifact in model.int8],
        "latencies": [_latency_document(latency) for latency in model.latencies],
    }


def _int8_document(artifact: "Int8Artifact") -> dict[str, Any]:
    document: dict[str, Any] = {**artifact.kind._asdict(), "bytes": artifact.bytes, "cost": None}
    if artifact.cost is not None:
        document["cost"] = _cost_document(artifact.cost)
    return document


def _cost_document(cost: "AnyComparison") -> dict[str, Any]:
    """Figures of both files as fractions, and the drop in points."""
    from edgex.comparison import Comparison
    from edgex.segmentation import Measures

    drop = cost.drop.model_dump()
    if isinstance(cost, Comparison):
        hits = {"float": cost.baseline_hits, "int8": cost.baseline_hits - cost.lost + cost.gained}
        top1 = {f"{name}_top1": count / cost.images for name, count in hits.items()}
        return {**top1, "drop": drop, "agreement": cost.agreement}
    mious = {"float_miou": cost.of_baseline.miou.value, "int8_miou": Measures(cost.other).miou.value}
    return {**mious, "drop": drop, "agreement": None if cost.agreement is None else cost.agreement.share}


def _latency_document(latency: "ModelLatency") -> dict[str, Any]:
    result = latency.result
    keys = ("runtime", "threads", "runs", "median_ms", "p90_ms", "p99_ms")
    interval = {"low_ms": result.interval.low, "high_ms": result.interval.high}
    return {**latency.kind._asdict(), **{key: getattr(result, key) for key in keys}, **interval}


def _ratio_document(report: "CompareReport", found: "ModelRatio") -> dict[str, Any]:
    ratio = found.ratio
    return {
        "a": report.models[found.a].name,
        "b": report.models[found.b].name,
        "a_runtime": ratio.a.runtime,
        "b_runtime": ratio.b.runtime,
        **found.kind._asdict(),
        "ratio": ratio.ratio,
        "low": ratio.interval.low,
        "high": ratio.interval.high,
    }


def show_comparison(report: "CompareReport") -> None:
    _show_counts(report)
    if report.lanes:
        _show_latencies(report)
        _show_ratios(report)


def _show_counts(report: "CompareReport") -> None:
    made = any(model.int8 for model in report.models)
    columns = ("model", "input", "parameters", "MACs", "if regular", "float32")
    table = new_table(*columns, *(["INT8"] if made else []), "lost by INT8")
    for model in report.models:
        counted = model.inspection
        sizes = ["\n".join(f"{artifact.kind}  {size(artifact.bytes)}" for artifact in model.int8)] if made else []
        table.add_row(
            model.name,
            "×".join(map(str, counted.layers[0].shape)),
            f"{counted.parameters:,}",
            prefixed(counted.macs),
            prefixed(counted.regular_macs),
            size(counted.bytes),
            *sizes,
            _cost(model),
        )
    out().print(table)
    out().print("MACs are multiply-accumulates an image; if regular: with no convolution separated into two.")
    if report.images:
        measure = f"points of {report.measure} on {report.images:,} images"
        out().print(f"Lost by INT8: {measure}; at most so many with 95 % confidence.")
        if not all(each.bounded for model in report.models for each in model.int8 if each.cost is not None):
            out().print(unbounded(f"{report.measure}"))
        out().print(_preprocessing(report))
    if any(model.fresh for model in report.models):
        out().print("Untrained: weights of the zoo are fresh; counts, sizes and latencies do not depend on them.")
    if any(not model.fresh and all(each.cost is None for each in model.int8) for model in report.models):
        out().print("Not measured: what INT8 loses takes --calib IMAGES and --data LABELLED.")


def _preprocessing(report: "CompareReport") -> str:
    """By which scale and resize the models that INT8's cost was measured of read their images."""
    read: dict[tuple[str, str], list[str]] = {}
    for name, model in zip(_distinct([model.name for model in report.models]), report.models, strict=True):
        if model.preprocessing is not None and not model.fresh:
            read.setdefault((model.preprocessing.scale, model.preprocessing.resize), []).append(name)
    parts = [f"{scale} and {resize} for {', '.join(names)}" for (scale, resize), names in read.items()]
    return f"Preprocessing: {'; '.join(parts)}."


def _cost(model: "ComparedModel") -> str:
    if model.fresh:
        return "untrained"
    return "\n".join(artifact.lost for artifact in model.int8 if artifact.cost is not None) or "not measured"


def _show_latencies(report: "CompareReport") -> None:
    names = _distinct([model.name for model in report.models])
    table = new_table("latency, ms", *names)
    for lane in report.lanes:
        found = [[each.result for each in model.latencies if each.lane == lane] for model in report.models]
        cells = [
            f"{milliseconds(each[0].median_ms)} ± {100 * each[0].interval.half_width(each[0].median_ms):.0f} %"
            if each
            else "–"
            for each in found
        ]
        table.add_row(lane, *cells)
    out().print(table)
    first = next(latency.result for model in report.models for latency in model.latencies)
    out().print(
        f"Medians at batch 1 on {first.threads} threads, in {len(first.blocks)} processes each that took turns."
    )
    if out().is_terminal:
        rows = [
            (f"{lane}  {name}", each.result.median_ms)
            for lane in report.lanes
            for name, model in zip(names, report.models, strict=True)
            for each in model.latencies
            if each.lane == lane
        ]
        drawn = bars([label for label, _ in rows], [value for _, value in rows], "ms", out().width)
        if drawn:
            out().print(drawn, soft_wrap=True)


def _show_ratios(report: "CompareReport") -> None:
    names = _distinct([model.name for model in report.models])
    shown = [found for found in report.ratios if len(report.ratios) <= MOST_PAIRS or found.a == 0]
    if not shown:
        return
    table = new_table("ratio of latencies", "", "95 % interval")
    for found in shown:
        ratio = found.ratio
        pair = f"{names[found.a]} / {names[found.b]}, {found.kind} in {ratio.a.runtime}"
        table.add_row(pair, f"{ratio.ratio:.2f}×", f"{ratio.interval.low:.2f} – {ratio.interval.high:.2f}")
    out().print(table)


def _distinct(names: Sequence[str]) -> list[str]:
    """Names that tell models apart, also where one was given twice."""
    return [
        f"{name} ({names[: place + 1].count(name)})" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]
