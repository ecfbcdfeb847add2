"""Results as tables, for people. Commands compute; this shows."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgex.console import out
from edgex.records import split_names
from edgex.render.plot import latency_plot
from edgex.render.text import milliseconds, on_one_line, percent, prefixed, size

if TYPE_CHECKING:
    from rich.table import Table

    from edgex.bench import BenchReport, Operation, OperationProfile, OperationReport
    from edgex.compile import Compiled
    from edgex.demo.run import DemoReport
    from edgex.doctor import Diagnosis
    from edgex.inspection import Inspection
    from edgex.lint import Finding
    from edgex.manifest import Problem
    from edgex.pipeline import Reproduction
    from edgex.target import TargetProfile

MOST_PAIRS = 10
"""Beyond which a table compares with the fastest alone."""

MOST_OPERATIONS = 15
"""Of one file that a table lists; the rest is a line."""


def show_bench(report: "BenchReport") -> None:
    title, names = file_names([result.path for result in report.results])
    table = new_table(title, "runtime", "init", "first", "runs", "median", "±", "p90", "p99")
    for result in report.results:
        table.add_row(
            names[result.path],
            result.runtime,
            milliseconds(result.init_ms),
            milliseconds(result.first_ms),
            f"{result.runs:,}",
            milliseconds(result.median_ms),
            f"{100 * result.interval.half_width(result.median_ms):.0f} %",
            milliseconds(result.p90_ms),
            "–" if result.p99_ms is None else milliseconds(result.p99_ms),
        )
    out().print(table)
    first = report.results[0]
    out().print(
        f"Milliseconds at batch 1 on {first.threads} threads, in {len(first.blocks)} processes each that took turns."
    )
    labels = {id(result): f"{names[result.path]} in {result.runtime}" for result in report.results}
    if out().is_terminal:
        out().print(latency_plot(report.results, [*labels.values()]), soft_wrap=True)
    fastest = report.fastest
    shown = [ratio for ratio in report.ratios if len(report.ratios) <= MOST_PAIRS or fastest in (ratio.a, ratio.b)]
    if shown:
        table = new_table("ratio of latencies", "", "95 % interval")
        for ratio in shown:
            pair = f"{labels[id(ratio.a)]} / {labels[id(ratio.b)]}"
            table.add_row(pair, f"{ratio.ratio:.2f}×", f"{ratio.interval.low:.2f} – {ratio.interval.high:.2f}")
        out().print(table)
    if report.noisy is not None:
        verdict = "noisy: do not compare on it now" if report.noisy else "quiet enough to compare on"
        out().print(f"A file against itself: this machine is {verdict}.")
    elif len(report.results) > 1:
        out().print(f"Fastest: {labels[id(fastest)]}, {milliseconds(fastest.median_ms)} ms.")


def show_operations(report: "OperationReport") -> None:
    for profile in report.profiles:
        out().print(f"{profile.path} in {profile.runtime}, operation by operation:")
        _show_slowest(profile)
        _show_kinds(profile)
        out().print(
            f"{milliseconds(profile.operations_ms)} ms of operations in a run of {milliseconds(profile.total_ms)} ms."
        )
        if profile.overhead_ms:
            taken = milliseconds(1e3 * profile.overhead_ms)
            out().print(f"The profiler lengthens each operation by about {taken} µs, which are taken off.")
        if profile.in_float:
            listed = ", ".join(profile.in_float[:MOST_OPERATIONS])
            more = len(profile.in_float) - MOST_OPERATIONS
            out().print(f"In float: {listed}{f' and {more} more' if more > 0 else ''}.")
    for note in report.notes:
        out().print(note)


def _show_slowest(profile: "OperationProfile") -> None:
    ordered = sorted(profile.operations, key=lambda operation: operation.ms, reverse=True)
    named = any(operation.kernel for operation in ordered)
    table = new_table("layer", "operation", *(["kernel"] if named else []), "precision", "ms", "share %")
    for operation in ordered[:MOST_OPERATIONS]:
        kernel = [operation.kernel] if named else []
        table.add_row(operation.layer, operation.op, *kernel, operation.precision, *_sums([operation]))
    rest = ordered[MOST_OPERATIONS:]
    if rest:
        table.add_row(f"{len(rest)} more", "", *([""] if named else []), "", *_sums(rest))
    out().print(table)


def _show_kinds(profile: "OperationProfile") -> None:
    kinds: dict[tuple[str, str], list[Operation]] = {}
    for operation in profile.operations:
        kinds.setdefault((operation.op, operation.precision), []).append(operation)
    table = new_table("operation", "precision", "count", "ms", "share %")
    for names, alike in sorted(kinds.items(), key=lambda kind: -sum(operation.ms for operation in kind[1])):
        table.add_row(*names, f"{len(alike):,}", *_sums(alike))
    out().print(table)


def _sums(operations: Sequence["Operation"]) -> tuple[str, str]:
    """Their milliseconds and share, together."""
    share = sum(operation.share for operation in operations)
    return milliseconds(sum(operation.ms for operation in operations)), f"{100 * share:.1f}"


def show_compiled(compiled: "Compiled") -> None:
    if compiled.files:
        title, names = file_names([file.path for file in compiled.files])
        table = new_table(title, "runtime", "size", "init ms", "plain", "median ms", "plain", "ratio", "95 % interval")
        for file in compiled.files:
            made, plain = file.ratio.a, file.ratio.b
            table.add_row(
                names[file.path],
                file.runtime,
                size(file.bytes),
                milliseconds(made.init_ms),
                milliseconds(plain.init_ms),
                milliseconds(made.median_ms),
                milliseconds(plain.median_ms),
                f"{file.ratio.ratio:.2f}×",
                f"{file.ratio.interval.low:.2f} – {file.ratio.interval.high:.2f}",
            )
        out().print(table)
        out().print(f"in {compiled.directory}; plain is {compiled.files[0].ratio.b.path.name} in the same runtime")
    if compiled.script is not None:
        out().print(f"{compiled.script}: copy the directory to the device and run it there")


def show_inspection(inspection: "Inspection") -> None:
    separable = inspection.separable
    table = new_table("layer", "operation", "output", "parameters", "MACs", *(["K²CC′", "ratio"] if separable else []))
    for layer in inspection.layers:
        shape = "×".join(map(str, layer.shape))
        found = layer.separable
        beside = [] if found is None else [f"{found.regular_macs:,}", f"{found.ratio:.2f}×"]
        table.add_row(on_one_line(layer.name), layer.op, shape, f"{layer.parameters:,}", f"{layer.macs:,}", *beside)
    out().print(table)
    out().print(
        f"{inspection.parameters:,} parameters ({inspection.trainable_parameters:,} trainable), "
        f"{prefixed(inspection.macs)}MAC an image, {size(inspection.bytes)} in float32, "
        f"largest activation {size(4 * inspection.largest_tensor)}"
    )
    if separable:
        macs = sum(each.macs for each in separable)
        regular = sum(each.regular_macs for each in separable)
        out().print(
            "K²CC′ is what a regular convolution K×K from C to C′ channels would take in place of a separable one's "
            "K²C + CC′; of a depthwise and a pointwise layer, both together, it stands in the row of the second."
        )
        out().print(
            f"Without separable convolutions: {prefixed(inspection.regular_macs)}MAC, "
            f"{inspection.regular_macs / inspection.macs:.2f}× as many. The {len(separable)} here take "
            f"{prefixed(macs)}MAC, where regular ones would take {prefixed(regular)}MAC, {regular / macs:.2f}×."
        )


def show_diagnosis(diagnosis: "Diagnosis") -> None:
    from edgex.doctor import EXTRAS, PROGRAMS

    table = new_table(f"runtime, in Python {diagnosis.python}", "version", "to install", text=True)
    for runtime in diagnosis.runtimes:
        table.add_row(runtime.name, runtime.version or "–", "" if runtime.version else runtime.install)
    out().print(table)
    table = new_table("of edgex", "", "", text=True)
    for name, installed in diagnosis.extras.items():
        table.add_row(name, EXTRAS[name][1], "installed" if installed else f"pip install 'edgex[{name}]'")
    for name, path in diagnosis.programs.items():
        table.add_row(name, PROGRAMS[name], path or "not in PATH")
    out().print(table)
    cpu = diagnosis.cpu
    table = new_table(cpu.name or "CPU", "", text=True)
    table.add_row("architecture", cpu.architecture)
    table.add_row("cores", f"{cpu.physical_cores or '?'} physical, {cpu.logical_cores or '?'} logical")
    table.add_row("threads by default", str(diagnosis.threads))
    for feature, present in cpu.features.items():
        table.add_row(feature, {True: "yes", False: "no", None: "not known"}[present])
    out().print(table)
    for sentence in diagnosis.advice:
        out().print(sentence)


def show_targets(targets: Sequence["TargetProfile"]) -> None:
    table = new_table("target", "for", "writes")
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
    table = new_table("", "")
    for key, value in rows.items():
        if value:
            table.add_row(key, value)
    console.print(table)
    for sentence in target.runs_on:
        console.print(f"  {sentence}")


def show_findings(path: Path, findings: Sequence["Finding"]) -> None:
    for finding in findings:
        out().print(on_one_line(str(finding)))
    out().print(f"{path}: {len(findings)} findings" if findings else f"{path} keeps all rules")


def show_verify(directory: Path, problems: Sequence["Problem"]) -> None:
    for problem in problems:
        out().print(f"{problem.name} {problem.message}")
    out().print(f"{directory}: {len(problems)} problems" if problems else f"{directory} is intact")


def show_reproduction(found: "Reproduction") -> None:
    for name, (then, now) in found.changed.items():
        out().print(f"{name} was {then} then, and is {now} now")
    for problem in found.problems:
        out().print(f"{problem.name} {problem.message}")
    count = len(found.problems)
    out().print(f"{found.directory}: {count} files differ" if count else f"{found.directory} is made again, bit by bit")


def show_demo(report: "DemoReport") -> None:
    table = new_table("artifact", "runtime", "top-1 %", "drop", "median ms", "× float", "size", "× float")
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


def file_names(paths: Iterable[Path]) -> tuple[str, dict[Path, str]]:
    """The heading of a column of files, and what it calls each: no more of the path than tells them apart."""
    paths = list(dict.fromkeys(paths))
    names = [path.name for path in paths]
    if len(set(names)) < len(paths):
        return "file", {path: str(path) for path in paths}
    shared, short = split_names(names)
    return shared or "file", {path: short[path.name] for path in paths}


def new_table(*columns: str, text: bool = False) -> "Table":
    """A table of figures, or of ``text``, which begins at the left."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_header=any(columns))
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if text or position == 0 else "right", overflow="fold")
    return table
