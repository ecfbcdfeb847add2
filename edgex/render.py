"""Results, as JSON documents and as tables. Commands compute; this is the one place that shows."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgex.console import out

if TYPE_CHECKING:
    from rich.table import Table

    from edgex.bench import BenchReport
    from edgex.demo.run import DemoReport
    from edgex.evaluate import EvalResult
    from edgex.inspection import Inspection
    from edgex.lint import Finding
    from edgex.manifest import Problem
    from edgex.measure import Evaluation
    from edgex.pipeline import WrittenDirectory
    from edgex.target import TargetProfile


def print_json(schema: str, **content: Any) -> None:
    """Print one versioned document on stdout."""
    print(json.dumps({"schema": f"edgex.{schema}/1", **content}, indent=2, default=str))  # noqa: T201  this is stdout


# Documents


def written_document(written: "WrittenDirectory") -> dict[str, Any]:
    artifacts = [
        {"path": a.path, "format": a.format, "precision": a.precision, "bytes": a.bytes, "sha256": a.sha256}
        for a in written.artifacts
    ]
    return {"directory": written.directory, "artifacts": artifacts, "warnings": list(written.warnings)}


def eval_document(evaluation: "Evaluation") -> dict[str, Any]:
    keys = ("path", "runtime", "images", "top1", "top5", "low", "high", "output")
    results = [{key: getattr(result, key) for key in keys} for result in evaluation.results]
    return {"results": results, "warnings": list(evaluation.warnings)}


def bench_document(report: "BenchReport") -> dict[str, Any]:
    keys = ("path", "runtime", "threads", "runs", "median_ms", "p90_ms", "p99_ms")
    return {
        "results": [{key: getattr(result, key) for key in keys} for result in report.results],
        "ratios": [{key: getattr(ratio, key) for key in ("a", "b", "ratio", "low", "high")} for ratio in report.ratios],
    }


def inspect_document(inspection: "Inspection") -> dict[str, Any]:
    layers = [
        {
            "name": layer.name,
            "op": layer.op,
            "shape": list(layer.shape),
            "parameters": layer.parameters,
            "macs": layer.macs,
        }
        for layer in inspection.layers
    ]
    keys = ("parameters", "trainable_parameters", "macs", "bytes", "largest_tensor")
    return {**{key: getattr(inspection, key) for key in keys}, "layers": layers}


def target_document(target: "TargetProfile") -> dict[str, Any]:
    return {**target.model_dump(mode="json"), "artifacts": [str(kind) for kind in target.artifacts]}


def findings_document(path: Path, findings: Sequence["Finding"]) -> dict[str, Any]:
    return {
        "path": path,
        "clean": not findings,
        "findings": [{"rule": f.rule, "where": f.where, "message": f.message} for f in findings],
    }


def verify_document(directory: Path, problems: Sequence["Problem"]) -> dict[str, Any]:
    return {
        "directory": directory,
        "intact": not problems,
        "problems": [{"name": problem.name, "message": problem.message} for problem in problems],
    }


def demo_document(report: "DemoReport") -> dict[str, Any]:
    rows = [
        {
            "path": row.artifact.path,
            "precision": row.artifact.precision,
            "bytes": row.artifact.bytes,
            "runtime": row.runtime,
            "top1": row.top1,
            "median_ms": row.median_ms,
        }
        for row in report.rows
    ]
    return {"directory": report.directory, "images": report.images, "threads": report.threads, "results": rows}


# Tables


def show_written(written: "WrittenDirectory") -> None:
    table = _table("artifact", "precision", "size")
    for artifact in written.artifacts:
        table.add_row(artifact.path.name, artifact.precision, size(artifact.bytes))
    out().print(table)
    out().print(f"in {written.directory}, linted against its target")


def show_eval(results: Sequence["EvalResult"]) -> None:
    from edgex.evaluate import agreement

    reference = next((result for result in results if ".fp32." in result.path.name), None)
    columns = ["file", "runtime", "images", "top-1 %", "95 % interval", "top-5 %"]
    table = _table(*columns, *(["agrees with fp32 %"] if reference else []))
    names = _file_names([result.path for result in results])
    for result in results:
        row = [
            names[result.path],
            result.runtime,
            f"{result.images:,}",
            percent(result.top1),
            f"{percent(result.low)} – {percent(result.high)}",
            percent(result.top5),
        ]
        if reference:
            row.append("" if result is reference else percent(agreement(result, reference)))
        table.add_row(*row)
    out().print(table)


def show_bench(report: "BenchReport") -> None:
    table = _table("file", "runtime", "threads", "runs", "median ms", "p90 ms", "p99 ms")
    names = _file_names([result.path for result in report.results])
    for result in report.results:
        p99 = "–" if result.p99_ms is None else milliseconds(result.p99_ms)
        row = (milliseconds(result.median_ms), milliseconds(result.p90_ms), p99)
        table.add_row(names[result.path], result.runtime, str(result.threads), f"{result.runs:,}", *row)
    out().print(table)
    if report.ratios:
        table = _table("ratio of medians", "", "95 % interval")
        for ratio in report.ratios:
            pair = f"{names[ratio.a]} / {names[ratio.b]}"
            table.add_row(pair, f"{ratio.ratio:.2f}×", f"{ratio.low:.2f} – {ratio.high:.2f}")
        out().print(table)


def show_inspection(inspection: "Inspection") -> None:
    table = _table("layer", "operation", "output", "parameters", "MACs")
    for layer in inspection.layers:
        shape = "×".join(map(str, layer.shape))
        table.add_row(layer.name, layer.op, shape, f"{layer.parameters:,}", f"{layer.macs:,}")
    out().print(table)
    out().print(
        f"{inspection.parameters:,} parameters ({inspection.trainable_parameters:,} trainable), "
        f"{_prefixed(inspection.macs)}MAC an image, {size(inspection.bytes)} in float32, "
        f"largest activation {size(4 * inspection.largest_tensor)}"
    )


def show_targets(targets: Sequence["TargetProfile"]) -> None:
    table = _table("target", "for", "writes")
    for target in targets:
        table.add_row(target.name, target.summary, ", ".join(map(str, target.artifacts)))
    out().print(table)


def show_target(target: "TargetProfile") -> None:
    console = out()
    console.print(f"{target.name}: {target.summary}")
    variant = ", ".join(f"--{key} {value}" for key, value in target.options.items())
    rows = {
        "variant": variant,
        "writes": ", ".join(map(str, target.artifacts)),
        "activations": f"{target.activations}, {target.onnx.activation_type} in ONNX",
        "bias": target.onnx.bias,
        "opset": f"{target.opset} (limit {target.onnx.opset_limit or 'none'})",
        "pruning that pays": ", ".join(target.sparsity),
    }
    if target.board:
        rows["board"] = ", ".join(target.board.modules)
        rows["on the board"] = (
            f"TensorRT {target.board.tensorrt}, CUDA {target.board.cuda}, Python {target.board.python}"
        )
    table = _table("", "")
    for key, value in rows.items():
        if value:
            table.add_row(key, value)
    console.print(table)
    for sentence in target.runs_on:
        console.print(f"  {sentence}")


def show_findings(path: Path, findings: Sequence["Finding"]) -> None:
    for finding in findings:
        out().print(str(finding))
    out().print(f"{path}: {len(findings)} findings" if findings else f"{path} keeps all rules")


def show_verify(directory: Path, problems: Sequence["Problem"]) -> None:
    for problem in problems:
        out().print(f"{problem.name} {problem.message}")
    out().print(f"{directory}: {len(problems)} problems" if problems else f"{directory} is intact")


def show_demo(report: "DemoReport") -> None:
    table = _table("artifact", "runtime", "top-1 %", "drop", "median ms", "× float", "size", "× float")
    base = report.rows[0]
    for row in report.rows:
        drop = 100 * (base.top1 - row.top1)
        table.add_row(
            f"{row.artifact.precision}.{row.artifact.format}",
            row.runtime,
            percent(row.top1),
            "" if row is base else f"{drop:+.1f}",
            milliseconds(row.median_ms),
            "" if row is base else f"{row.median_ms / base.median_ms:.2f}×",
            size(row.artifact.bytes),
            "" if row is base else f"{row.artifact.bytes / base.artifact.bytes:.2f}×",
        )
    out().print(table)
    out().print(
        f"{report.images} digits that neither training nor calibration saw; latency at batch 1 on "
        f"{report.threads} threads. The files are in {report.directory}.",
    )


def percent(share: float) -> str:
    return f"{100 * share:.2f}"


def milliseconds(value: float) -> str:
    """Three significant digits."""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def size(count: float) -> str:
    """Bytes as people read them."""
    return f"{_prefixed(count)}B"


def _prefixed(count: float) -> str:
    """Three significant digits and a prefix of the SI: ``8.36 G``."""
    for prefix in ("", "k", "M"):
        if count < 1000:
            return f"{count:.3g} {prefix}"
        count /= 1000
    return f"{count:.3g} G"


def _file_names(paths: Iterable[Path]) -> dict[Path, str]:
    """What a table calls each file: its name, or the whole path where two would be called the same."""
    paths = dict.fromkeys(paths)
    names = {path.name for path in paths}
    return {path: path.name if len(names) == len(paths) else str(path) for path in paths}


def _table(*columns: str) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_header=any(columns))
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if position == 0 else "right", overflow="fold")
    return table
