"""What every command prints, as JSON and for people. The keys are a promise to scripts."""

import hashlib
from pathlib import Path

from command import Outcome, edgex

ARTIFACT = {"path", "format", "precision", "bytes", "sha256"}
BENCHED = {
    *("path", "runtime", "threads", "runs", "init_ms", "first_ms"),
    *("median_ms", "low_ms", "high_ms", "p90_ms", "p99_ms"),
}
CPU_ARTIFACTS = [("int8", "onnx"), ("int8", "tflite"), ("fp32", "onnx"), ("fp32", "tflite")]
INT8, FLOAT = "out/xception-digits.int8.onnx", "out/xception-digits.fp32.onnx"
TFLITE = "out/xception-digits.int8.tflite"


def check_artifacts(entries: list[dict[str, object]], folder: Path) -> None:
    for entry in entries:
        assert entry.keys() == ARTIFACT
        content = (folder / str(entry["path"])).read_bytes()
        assert entry["bytes"] == len(content)
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()


def test_quantize(demo_cpu: tuple[Path, Outcome]) -> None:
    folder, outcome = demo_cpu
    assert outcome.code == 0
    document = outcome.document
    assert document["schema"] == "edgex.quantize/1"
    assert document["directory"] == "out"
    kinds = [(entry["precision"], entry["format"]) for entry in document["artifacts"]]
    assert kinds == CPU_ARTIFACTS
    assert [entry["path"] for entry in document["artifacts"]] == [
        f"out/xception-digits.{precision}.{form}" for precision, form in CPU_ARTIFACTS
    ]
    check_artifacts(document["artifacts"], folder)
    assert {path.name for path in (folder / "out").iterdir()} == {
        "manifest.json",
        "plan.json",
        *(Path(entry["path"]).name for entry in document["artifacts"]),
    }


def test_quantize_for_people(folder: Path) -> None:
    outcome = edgex("quantize", "demo", "--target", "cpu", "--calib", "digits", "--calib-count", 8, cwd=folder)
    assert outcome.code == 0
    for name in ("xception-digits.int8.onnx", "xception-digits.fp32.tflite", "xception-digits-cpu"):
        assert name in outcome.out
    assert "calibrate (8)" in outcome.err
    assert "Only 8 calibration images" in outcome.err
    assert "calibrat" not in outcome.out


def test_export(folder: Path) -> None:
    outcome = edgex("export", "demo", "--target", "jetson", "-o", "float", "--json", cwd=folder)
    assert outcome.code == 0
    document = outcome.document
    assert document["schema"] == "edgex.export/1"
    assert document["directory"] == "float"
    kinds = [(entry["precision"], entry["format"]) for entry in document["artifacts"]]
    assert kinds == [("fp16", "onnx"), ("fp32", "onnx")]
    check_artifacts(document["artifacts"], folder)
    assert edgex("verify", "float", cwd=folder).code == 0


def test_export_for_people(folder: Path) -> None:
    outcome = edgex("export", "demo", "--target", "cpu", cwd=folder)
    assert outcome.code == 0
    assert "xception-digits.fp32.tflite" in outcome.out
    assert "write (2)" in outcome.err


def test_eval(project: Path) -> None:
    outcome = edgex("eval", INT8, TFLITE, FLOAT, "--data", "digits", "--json", cwd=project)
    assert outcome.code == 0
    document = outcome.document
    assert document["schema"] == "edgex.eval/1"
    assert [result["path"] for result in document["results"]] == [INT8, TFLITE, FLOAT]
    assert [result["runtime"] for result in document["results"]] == ["onnxruntime", "litert", "onnxruntime"]
    for result in document["results"]:
        assert {"path", "runtime", "images", "top1", "top5"} <= result.keys()
        assert result["images"] == 500
        assert 0.98 <= result["top1"] <= result["top5"] <= 1
        assert result["low"] <= result["top1"] <= result["high"]
        assert result["output"] == "softmax"


def test_eval_for_people(project: Path) -> None:
    outcome = edgex("eval", INT8, FLOAT, "--data", "digits", cwd=project)
    assert outcome.code == 0
    assert "xception-digits" in outcome.out
    assert "int8.onnx" in outcome.out
    assert "500" in outcome.out
    assert "evaluate (500)" in outcome.err


def test_bench(project: Path) -> None:
    arguments = ("--runs", 4, "--threads", 1, "--runtime", "onnxruntime", "--runtime", "litert")
    outcome = edgex("bench", INT8, TFLITE, FLOAT, *arguments, "--json", cwd=project)
    assert outcome.code == 0
    document = outcome.document
    assert document.keys() == {"schema", "results", "ratios", "fastest", "notes"}
    assert document["schema"] == "edgex.bench/1"
    for result, path in zip(document["results"], (INT8, TFLITE, FLOAT), strict=True):
        assert result.keys() == BENCHED
        assert (result["path"], result["threads"], result["runs"], result["p99_ms"]) == (path, 1, 4, None)
        assert result["runtime"] == ("litert" if path == TFLITE else "onnxruntime")
        assert 0 < result["low_ms"] <= result["median_ms"] <= result["high_ms"]
        assert result["median_ms"] <= result["p90_ms"]
        assert min(result["init_ms"], result["first_ms"]) > 0
    pairs = [(INT8, TFLITE), (INT8, FLOAT), (TFLITE, FLOAT)]
    for ratio, pair in zip(document["ratios"], pairs, strict=True):
        assert ratio.keys() == {"a", "b", "a_runtime", "b_runtime", "ratio", "low", "high"}
        assert (ratio["a"], ratio["b"]) == pair
        assert ratio["low"] <= ratio["ratio"] <= ratio["high"]
    fastest = min(document["results"], key=lambda result: result["median_ms"])
    assert document["fastest"] == {"path": fastest["path"], "runtime": fastest["runtime"]}


def test_bench_for_people(project: Path) -> None:
    arguments = ("--runs", 4, "--threads", 1, "--runtime", "onnxruntime")
    outcome = edgex("bench", INT8, FLOAT, *arguments, cwd=project)
    assert outcome.code == 0
    for words in ("init", "first", "median", "p90", "95 % interval", "on 1 threads", "Fastest: "):
        assert words in outcome.out
    assert "int8.onnx in onnxruntime / fp32.onnx in onnxruntime" in outcome.out
    assert "bench (4)" in outcome.err


def test_bench_on_an_image(project: Path, folder: Path) -> None:
    arguments = ("--runs", 1, "--runtime", "litert", "--data")
    assert edgex("bench", TFLITE, *arguments, "digits", cwd=project).code == 0
    assert edgex("bench", TFLITE, *arguments, folder, cwd=project).code == 2


def test_files_of_the_same_name_are_told_apart(folder: Path) -> None:
    files = [f"{name}/xception-digits.fp32.onnx" for name in ("one", "other")]
    for file in files:
        edgex("export", "demo", "--target", "cpu", "-o", Path(file).parent, cwd=folder)
    bench = ("bench", "--runs", 1, "--runtime", "onnxruntime")
    outcome = edgex(*bench, *files, "--json", cwd=folder)
    assert [result["path"] for result in outcome.document["results"]] == files
    for command in (bench, ("eval", "--data", "digits")):
        shown = edgex(*command, *files, cwd=folder).out
        assert all(file in shown for file in files)


def test_inspect(folder: Path) -> None:
    document = edgex("inspect", "demo", "--json", cwd=folder).document
    assert document["schema"] == "edgex.inspect/1"
    assert {"parameters", "trainable_parameters", "macs", "bytes", "layers"} <= document.keys()
    assert document["parameters"] == sum(layer["parameters"] for layer in document["layers"])
    assert document["macs"] == sum(layer["macs"] for layer in document["layers"])
    assert document["bytes"] == 4 * document["parameters"]
    layers = {layer["name"]: layer for layer in document["layers"]}
    assert layers["block1_conv1"] == {
        "name": "block1_conv1",
        "op": "Conv2D",
        "shape": [23, 23, 8],
        "parameters": 3 * 3 * 3 * 8,
        "macs": 23 * 23 * 3 * 3 * 3 * 8,
    }


def test_inspect_at_another_size(folder: Path) -> None:
    small, large = (edgex("inspect", "demo", "--input-size", n, "--json", cwd=folder).document for n in (48, 96))
    assert large["parameters"] == small["parameters"]
    assert 3.5 < large["macs"] / small["macs"] < 5
    assert large["layers"][0]["shape"] == [96, 96, 3]


def test_inspect_for_people(folder: Path) -> None:
    outcome = edgex("inspect", "demo", cwd=folder)
    assert outcome.code == 0
    parameters = edgex("inspect", "demo", "--json", cwd=folder).document["parameters"]
    assert f"{parameters:,} parameters" in outcome.out
    assert " 0.00 " not in outcome.out
    assert outcome.err == ""


def test_targets(folder: Path) -> None:
    document = edgex("targets", "--json", cwd=folder).document
    assert document["schema"] == "edgex.targets/1"
    targets = {target["name"]: target for target in document["targets"]}
    assert list(targets) == ["cpu", "gpu-desktop", "jetson"]
    assert all("fp32.onnx" in target["artifacts"] for target in targets.values())
    document = edgex("targets", "jetson", "--jetpack", "4.6.1", "--json", cwd=folder).document
    (jetson,) = document["targets"]
    assert jetson["jetpack"] == "4.6.1"
    assert jetson["onnx"]["opset_limit"] == 13


def test_targets_for_people(folder: Path) -> None:
    listed = edgex("targets", cwd=folder)
    assert all(name in listed.out for name in ("cpu", "jetson", "gpu-desktop"))
    one = edgex("targets", "jetson", "--jetpack", "4.6.1", cwd=folder)
    assert "13 (limit 13)" in one.out
    assert "TensorRT 8.2" in one.out


def test_lint(project: Path) -> None:
    clean = edgex("lint", INT8, "--target", "cpu", "--json", cwd=project)
    assert clean.code == 0
    assert clean.document == {"schema": "edgex.lint/1", "path": INT8, "clean": True, "findings": []}
    red = edgex("lint", INT8, "--target", "jetson", "--json", cwd=project)
    assert red.code == 3
    assert red.document["clean"] is False
    rules = {finding["rule"] for finding in red.document["findings"]}
    assert {"zero-points-zero", "activation-type", "bias-float"} <= rules
    assert all(finding.keys() == {"rule", "where", "message"} for finding in red.document["findings"])


def test_lint_for_people(project: Path) -> None:
    assert "keeps all rules" in edgex("lint", TFLITE, "--target", "cpu", cwd=project).out
    red = edgex("lint", INT8, "--target", "jetson", cwd=project)
    assert red.code == 3
    assert "block1_conv1" in red.out


def test_verify(project: Path, folder: Path) -> None:
    intact = edgex("verify", "out", "--json", cwd=project)
    assert intact.code == 0
    assert intact.document == {"schema": "edgex.verify/1", "directory": "out", "intact": True, "problems": []}
    assert "out is intact" in edgex("verify", "out", cwd=project).out

    edgex("export", "demo", "--target", "cpu", "-o", "out", cwd=folder)
    (folder / "out" / "xception-digits.fp32.onnx").unlink()
    with (folder / "out" / "xception-digits.fp32.tflite").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"!")
    changed = edgex("verify", "out", "--json", cwd=folder)
    assert changed.code == 8
    assert changed.document["intact"] is False
    problems = {problem["name"]: problem["message"] for problem in changed.document["problems"]}
    assert problems.keys() == {"xception-digits.fp32.onnx", "xception-digits.fp32.tflite"}
    assert problems["xception-digits.fp32.onnx"] == "is missing"
    assert "2 problems" in edgex("verify", "out", cwd=folder).out


def test_init(folder: Path) -> None:
    outcome = edgex("init", "--json", cwd=folder)
    assert outcome.code == 0
    assert outcome.document == {"schema": "edgex.init/1", "path": "edgex.toml"}
    assert (folder / "edgex.toml").is_file()


def test_demo(folder: Path) -> None:
    outcome = edgex("demo", "--target", "jetson", "--json", cwd=folder)
    assert outcome.code == 0
    document = outcome.document
    assert document["schema"] == "edgex.demo/1"
    assert document["images"] == 500
    first, *others = document["results"]
    assert first["path"] == "edgex-demo/xception-digits.fp32.onnx"
    assert first["top1"] > 0.98
    for row in others:
        assert row["top1"] > first["top1"] - 0.01
        assert row["median_ms"] > 0
        assert row["bytes"] == (folder / row["path"]).stat().st_size
    assert edgex("verify", document["directory"], cwd=folder).code == 0


def test_demo_for_people(folder: Path) -> None:
    outcome = edgex("demo", "-o", "here", cwd=folder)
    assert outcome.code == 0
    for words in ("int8.onnx", "int8.tflite", "fp32.tflite", "top-1", "median ms", "500 digits", "here"):
        assert words in outcome.out
    assert [line.split(" (")[0] for line in outcome.err.splitlines() if "…" in line] == [
        "calibrate",
        "write",
        "evaluate",
        "bench",
    ]


def test_a_directory_stands_for_its_artifacts(demo_cpu: tuple[Path, Outcome]) -> None:
    folder, _ = demo_cpu
    outcome = edgex("eval", "out", "--data", "digits", "--json", cwd=folder)
    assert outcome.code == 0
    names = [f"out/xception-digits.{precision}.{form}" for precision, form in CPU_ARTIFACTS]
    assert [row["path"] for row in outcome.document["results"]] == names
    assert edgex("bench", folder / "out" / "..", cwd=folder).code == 8, "a directory without a manifest"
