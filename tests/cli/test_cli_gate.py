"""``edgex gate``: exit codes, documents, and what it writes for CI."""

import html
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from command import Outcome, edgex, refused
from markdown_it import MarkdownIt
from reports import FLOAT, INT8, edit, outcome, predictions, report, write, write_outcome

from edgex.api import Limits, gate
from edgex.gate import GateResult, judge
from edgex.render.github import annotations, markdown
from edgex.render.junit import junit

HOSTILE = "a|b\n| c | <img src=x> `d` *e* _f_ ::error::g @me www.h.example &amp; %0A \x1b[31m ]]> \x00.int8.onnx"


def run(folder: Path, *options: object, **variables: str) -> Outcome:
    return edgex("gate", "out", *options, cwd=folder, **{"GITHUB_ACTIONS": "", **variables})


@pytest.fixture
def hostile() -> GateResult:
    """An artifact, classes and a baseline whose names want to be markup and commands; it fails and is in doubt."""
    labels, baseline, other = outcome(lost=60, gained=10)
    names = [f"{HOSTILE} http://i.example {index}" for index in range(10)]
    both = predictions(labels, {FLOAT: baseline, HOSTILE: other}, class_names=names)
    return judge(report(both), Limits(max_class_drop=0.5, max_size_mb=1), against=HOSTILE, notes=[HOSTILE])


# Verdicts


@pytest.mark.parametrize(
    ("lost", "options", "code", "verdict"),
    [
        (20, (), 0, "pass"),
        (20, ("--max-drop", 0.05), 5, "inconclusive"),
        (200, (), 4, "fail"),
        (20, ("--max-size-mb", 1), 4, "fail"),
        (20, ("--min-speedup", 1), 5, "inconclusive"),
        (20, ("--max-latency-ms", 12, "--min-agreement", 98, "--max-class-drop", 10, "--max-size-mb", 22), 0, "pass"),
    ],
)
def test_verdicts(folder: Path, lost: int, options: tuple[object, ...], code: int, verdict: str) -> None:
    write_outcome(folder / "out", lost=lost)
    shown = run(folder, *options)
    assert shown.code == code, shown.err
    assert shown.out.rstrip().endswith(verdict)
    assert shown.err == ""
    document = run(folder, *options, "--json").document
    assert document["verdict"] == verdict
    names = [name.removeprefix("--") for name in map(str, options) if name.startswith("--")]
    checks = document["results"][0]["checks"]
    assert sorted(check["name"] for check in checks) == sorted({"max-drop", *names})
    for check in checks:
        assert check["message"][:40] in shown.out


def test_document(folder: Path) -> None:
    write_outcome(folder / "out")
    done = edgex("gate", "out/report.json", "--json", cwd=folder)
    assert done.code == 0
    assert done.err == ""
    document = done.document
    assert document["schema"] == "edgex.gate/1"
    assert document["against"] == FLOAT
    assert document["limits"]["max_drop"] == 1.0
    (result,) = document["results"]
    assert result["path"] == f"out/{INT8}"
    assert result["verdict"] == "pass"
    drop = result["drop"]
    assert {key: drop[key] for key in ("images", "discordant")} == {"images": 4000, "discordant": 36}
    assert drop["points"] == pytest.approx(0.1)
    assert drop["low"] < drop["points"] < drop["high"]
    assert result["checks"][0].keys() == {"name", "verdict", "message", "images"}


def test_path_without_a_folder(folder: Path) -> None:
    file = write_outcome(folder)
    assert edgex("gate", file.name, "--json", cwd=folder).document["results"][0]["path"] == INT8


def test_the_command_and_the_function_agree(folder: Path) -> None:
    file = write_outcome(folder / "out", lost=60)
    result = gate(file, Limits(max_drop=0.9))
    document = run(folder, "--max-drop", 0.9, "--json").document
    assert document["verdict"] == result.verdict
    assert document["results"][0]["checks"][0]["message"] == result.results[0].checks[0].message


def test_baseline(folder: Path) -> None:
    write_outcome(folder / "out", lost=80)
    write_outcome(folder / "old", lost=80)
    assert run(folder).code == 4
    done = run(folder, "--baseline", "old", "--json")
    assert done.code == 0
    assert done.document["against"] == "old"


def test_a_limit_of_pixels_is_no_limit_of_a_classifier(folder: Path) -> None:
    write_outcome(folder / "out")
    refused(run(folder, "--max-pixel-drop", 0.5), 2, "--max-pixel-drop 0.5", "Limit the drop of top-1", "--max-drop")


def test_a_baseline_of_another_accuracy(folder: Path) -> None:
    write_outcome(folder / "out", lost=200)
    assert run(folder, "--baseline-accuracy", 85).code == 4
    doubtful = run(folder, "--baseline-accuracy", 95)
    assert doubtful.code == 5
    assert "known for 95 %" in " ".join(doubtful.out.split())
    (folder / "edgex.toml").write_text("baseline_accuracy = 95\n")
    assert run(folder).code == 5


def test_limits_that_are_none(folder: Path) -> None:
    write_outcome(folder / "out")
    for option, value in (("--max-drop", "nan"), ("--min-speedup", "-1"), ("--max-latency-ms", "inf")):
        refused(run(folder, f"{option}={value}"), 2, option)
    assert run(folder, "--max-drop", "little").code == 2


def test_reports_that_are_refused(folder: Path) -> None:
    refused(edgex("gate", "nowhere", cwd=folder), 7, "nowhere")
    file = write_outcome(folder / "out")
    (folder / "out" / INT8).write_bytes(b"another")
    refused(run(folder), 7, INT8)
    (folder / "out" / INT8).unlink()
    edit(file, "artifacts", 0, "hits", value=4000)
    refused(run(folder), 7, "report.json")


# Files for CI


def test_junit(folder: Path) -> None:
    write_outcome(folder / "out", lost=60)
    options = ("--max-drop", 1.3, "--max-size-mb", 1, "--max-latency-ms", 12, "--junit", "gate.xml")
    assert run(folder, *options).code == 4
    suites = ET.parse(folder / "gate.xml").getroot()
    assert suites.attrib == {"name": "edgex gate", "tests": "3", "failures": "1", "errors": "1"}
    cases = {case.get("name"): case for case in suites.iter("testcase")}
    assert {case.get("classname") for case in cases.values()} == {f"out/{INT8}"}
    assert {name: [child.tag for child in case] for name, case in cases.items()} == {
        "max-drop": ["error"],
        "max-size-mb": ["failure"],
        "max-latency-ms": ["system-out"],
    }
    error = cases["max-drop"].find("error")
    assert error is not None
    assert "images in all would settle it" in (error.get("message") or "")


def test_junit_of_hostile_names(hostile: GateResult) -> None:
    document = junit(hostile)
    cases = list(ET.fromstring(document).iter("testcase"))
    assert len(cases) == 3
    shown = HOSTILE.replace("\x00", "\ufffd").replace("\x1b", "\ufffd")
    assert cases[0].get("classname") == shown
    assert {child.tag for case in cases for child in case} == {"error", "failure"}


def test_junit_of_names_that_are_no_text(hostile: GateResult) -> None:
    odd = replace(hostile.results[0], path=Path(os.fsdecode(b"\xff.onnx")))
    case = next(ET.fromstring(junit(replace(hostile, results=(odd,)))).iter("testcase"))
    assert case.get("classname") == "\ufffd.onnx"


def test_a_summary_is_appended_to(folder: Path) -> None:
    write_outcome(folder / "out")
    (folder / "summary.md").write_text("# Earlier\n\n")
    for _ in range(2):
        assert run(folder, "--markdown", "summary.md").code == 0
    text = (folder / "summary.md").read_text()
    assert text.startswith("# Earlier\n\n### ✅ edgex gate: pass\n")
    assert text.count("edgex gate") == 2
    assert text.count(f"| ✅ pass | <code>out/{INT8}</code> | max-drop 1 | The drop is 0.10 points") == 2


def rendered(text: str) -> str:
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(text)


def test_markdown_of_hostile_names(hostile: GateResult) -> None:
    """Shown as they are: three rows of four cells, and no element that we did not write."""
    text = markdown(hostile)
    shown_html = rendered(text)
    rows = re.findall("<tr>(.*?)</tr>", shown_html, re.DOTALL)
    assert [len(re.findall("<t[dh]>", row)) for row in rows] == [4, 4, 4, 4]
    tags = {"h3", "table", "thead", "tbody", "tr", "th", "td", "code", "p", "ul", "li"}
    assert set(re.findall(r"</?(\w+)", shown_html)) == tags
    shown = "a|b | c | &lt;img src=x&gt; `d` *e* _f_ ::error::g @me www.h.example &amp;amp; %0A  [31m ]]&gt;"
    assert shown_html.count(shown) == 5
    assert not re.search(r"@me|www\.|http://|\x1b", text), "GitHub would make a link of it, or a mention"


@pytest.mark.parametrize("name", ["a|b", "<b>x</b>", "`x`", "*x*", "_x_", "![x](y)", "a\nb", "&lt;"])
def test_unescaped_names_would_show(name: str) -> None:
    """The renderer of the test above sees them."""

    def row(cell: str) -> str:
        return rendered(f"| a |\n|---|\n| {cell} |\n").split("<tbody>")[1]

    assert html.escape(name) not in row(name)
    assert "plain name" in row("plain name")


@pytest.mark.parametrize("option", ["--junit", "--markdown"])
@pytest.mark.parametrize("path", ["missing/file", "out", "report.txt/file"])
def test_a_path_that_cannot_be_written(folder: Path, option: str, path: str) -> None:
    """The verdict is told all the same."""
    write_outcome(folder / "out", lost=200)
    (folder / "report.txt").write_text("")
    before = sorted(folder.rglob("*"))
    done = run(folder, option, path)
    assert done.code == 8
    assert path in done.err
    assert done.out.rstrip().endswith("fail")
    assert sorted(folder.rglob("*")) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk(folder: Path) -> None:
    write_outcome(folder / "out")
    (folder / "summary.md").symlink_to("/dev/full")
    refused_by_disk = run(folder, "--markdown", "summary.md")
    assert refused_by_disk.code == 8
    assert "No space left" in refused_by_disk.err


# Annotations


def test_annotations(folder: Path) -> None:
    write_outcome(folder / "out", lost=60)
    quiet = run(folder, "--max-size-mb", 1)
    assert "::" not in quiet.out
    done = run(folder, "--max-size-mb", 1, "--max-drop", 1.3, GITHUB_ACTIONS="true")
    lines = done.out.splitlines()
    stop = lines[0].removeprefix("::stop-commands::")
    commands = lines[lines.index(f"::{stop}::") + 1 :]
    assert len(stop) == 32
    assert [command.split("::")[1] for command in commands] == [
        f"warning title=edgex gate%3A {INT8} max-drop",
        f"error title=edgex gate%3A {INT8} max-size-mb",
    ]
    assert done.err == ""


def test_annotations_beside_a_document(folder: Path) -> None:
    write_outcome(folder / "out")
    done = run(folder, "--json", GITHUB_ACTIONS="true")
    assert done.document["verdict"] == "pass"
    assert done.err.startswith("::notice title=edgex gate::")


def test_annotations_of_hostile_names(hostile: GateResult) -> None:
    """As the runner reads them: one command a line, whose properties end at a comma, and escapes undone."""
    found = annotations(hostile)
    assert len(found) == 3
    for line, check in zip(found, hostile.results[0].checks, strict=True):
        command, properties, message = re.fullmatch(r"::(\w+) ([^:]*)::([^\n\r]*)", line).groups()  # type: ignore[union-attr]  it matches
        assert command == {"fail": "error", "inconclusive": "warning"}[check.verdict]
        assert properties.count("=") == 1 + HOSTILE.count("=")
        assert "," not in properties
        assert unescaped(message) == check.message
        assert unescaped(properties) == f"title=edgex gate: {HOSTILE} {check.name}"


def unescaped(text: str) -> str:
    for sign, escape in ((":", "%3A"), (",", "%2C"), ("\r", "%0D"), ("\n", "%0A"), ("%", "%25")):
        text = text.replace(escape, sign)
    return text


def test_no_line_of_a_log_is_a_command(folder: Path) -> None:
    """Names with line ends, and such as begin a folded line."""
    labels, baseline, other = outcome(lost=60)
    names = [f"x\n::error::{index} {'y' * 70} ::error::z" for index in range(10)]
    write(folder / "out", predictions(labels, {FLOAT: baseline, INT8: other}, class_names=names))
    done = run(folder, "--max-class-drop", 0.5, GITHUB_ACTIONS="true")
    lines = done.out.splitlines()
    stop = lines[0].removeprefix("::stop-commands::")
    end = lines.index(f"::{stop}::")
    inside = [line for line in lines[1:end] if line.strip().startswith("::")]
    after = [line for line in lines[end + 1 :] if line.strip().startswith("::")]
    assert len(after) == len(lines) - end - 1 == 2
    assert stop not in "".join(inside)


def test_json_is_one_document_whatever_the_names(folder: Path) -> None:
    labels, baseline, other = outcome(lost=60)
    both = predictions(labels, {FLOAT: baseline, INT8: other}, class_names=[f"{HOSTILE} {i}" for i in range(10)])
    write(folder / "out", both)
    done = run(folder, "--max-class-drop", 0.5, "--json")
    assert HOSTILE.split()[0] in json.loads(done.out)["results"][0]["checks"][1]["message"]
