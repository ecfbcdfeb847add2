"""Fuzzing: it finds what it is to find, and finds nothing in edgex."""

from pathlib import Path
from random import Random

import pytest

from edgex.toml_file import read_toml
from fuzz.campaign import Campaign, Tally
from fuzz.coverage import Coverage
from fuzz.targets import TARGETS
from fuzz.worker import lay_out

INPUTS = 400
"""For each target: a minute or so on two cores."""


def fuzz(targets: list[str], **options: object) -> list[Tally]:
    return Campaign(**options).run(targets, report=lambda _: None)


@pytest.mark.slow
def test_nothing_but_edgex_errors(tmp_path: Path) -> None:
    tallies = fuzz(list(TARGETS), inputs=INPUTS, save=tmp_path)
    found = [f"{tally.target}: {finding}" for tally in tallies for finding in tally.findings]
    assert found == [], "\n".join(found)
    assert {tally.inputs for tally in tallies} == {INPUTS}


@pytest.mark.parametrize("name", TARGETS)
def test_it_starts_from_files_that_are_accepted(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = TARGETS[name]
    lay_out(target, tmp_path)
    monkeypatch.chdir(tmp_path)
    seeds = target.seeds()
    assert seeds
    for seed in seeds:
        file = tmp_path / target.file
        file.write_bytes(seed)
        target.read(file)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", TARGETS)
def test_the_same_seed_makes_the_same_inputs(name: str) -> None:
    target = TARGETS[name]
    seeds = target.seeds()

    def inputs() -> list[bytes]:
        return [target.mutate(Random(number), seeds[0], seeds[-1]) for number in range(50)]

    made = inputs()
    assert made == inputs()
    assert len(set(made) - set(seeds)) > 25


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("raises", "ZeroDivisionError"),
        ("crashes", "SIGSEGV"),
        ("hangs", "SIGPROF"),
        ("waits", "SIGALRM"),
        ("hoards", "MemoryError"),
    ],
)
def test_it_finds_what_is_planted(target: str, kind: str, tmp_path: Path) -> None:
    """And goes on after it: the fault is in one of the first inputs."""
    (tally,) = fuzz([target], inputs=40, save=tmp_path, module="planted_faults")
    assert [finding.kind for finding in tally.findings] == [kind]
    assert b"bad" in tally.findings[0].input.read_bytes()
    assert tally.inputs == 40
    assert tally.outcomes["accepted"] > 0
    assert tally.outcomes["refused"] > 0


def test_coverage_grows_only_by_what_is_new(tmp_path: Path) -> None:
    coverage = Coverage()
    file = tmp_path / "a.toml"
    file.write_text("a = 1")
    with coverage.watched():
        read_toml(file)
    once = len(coverage)
    with coverage.watched():
        read_toml(file)
    assert len(coverage) == once > 0
