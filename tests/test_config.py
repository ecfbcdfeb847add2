"""edgex.toml: found, validated, and its paths seen from where one stands."""

import re
from pathlib import Path

import pytest

from edgex.config import Config, read_config
from edgex.config_file import TEMPLATE, find_config, init_config
from edgex.errors import OutputError, UsageError
from edgex.target import load_target


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository, and the current folder."""
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load_config(folder: Path) -> Config | None:
    found = find_config(folder)
    return None if found is None else read_config(found)


def test_without_a_file_there_is_no_config(project: Path) -> None:
    assert load_config(project) is None


def test_a_file_here_is_read(project: Path) -> None:
    (project / "edgex.toml").write_text('model = "a.keras"\ntarget = "jetson"\njetpack = "5.1.2"\ncalib_count = 64\n')
    expected = Config(model="a.keras", target="jetson", jetpack="5.1.2", calib_count=64)
    assert load_config(project) == expected


def test_pyproject_is_read_if_it_has_the_table(project: Path) -> None:
    (project / "pyproject.toml").write_text("[tool.other]\nx = 1\n")
    assert load_config(project) is None
    for odd in ("tool = 5", 'tool = ["edgex"]', 'tool = "edgex"'):
        (project / "pyproject.toml").write_text(odd)
        assert load_config(project) is None
    (project / "pyproject.toml").write_text("[tool.edgex]\nthreads = 2\n")
    assert load_config(project) == Config(threads=2)
    (project / "edgex.toml").write_text("threads = 3\n")
    assert load_config(project) == Config(threads=3)


def test_the_nearest_file_above_is_read_up_to_the_repository(project: Path) -> None:
    (project / "edgex.toml").write_text("threads = 1\n")
    inner = project / "a" / "b"
    inner.mkdir(parents=True)
    assert load_config(inner) == Config(threads=1)
    (project / "a" / "edgex.toml").write_text("threads = 2\n")
    assert load_config(inner) == Config(threads=2)
    (inner / ".git").write_text("gitdir: elsewhere\n")
    assert load_config(inner) is None


def test_paths_are_relative_to_the_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "edgex.toml").write_text(
        'model = "models/a.keras"\nbaseline = "models/b.keras"\noutput = "./out"\ndata = "/data/val.zip"\n'
        'target = "mine.toml"\ncalib = "digits.zip"\n'
    )
    here = load_config(project)
    assert here == Config(
        model="models/a.keras",
        baseline="models/b.keras",
        output="out",
        data="/data/val.zip",
        target="mine.toml",
        calib="digits.zip",
    )
    (project / "sub").mkdir()
    monkeypatch.chdir(project / "sub")
    assert load_config(Path()) == Config(
        model="../models/a.keras",
        baseline="../models/b.keras",
        output="../out",
        data="/data/val.zip",
        target="../mine.toml",
        calib="../digits.zip",
    )


def test_words_and_names_are_no_paths(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'model = "demo"\ntarget = "cpu"\ncalib = "digits"\ndata = "digits"\ntrain = "digits"\n'
    (project / "edgex.toml").write_text(text + 'output = "demo"\n')
    (project / "sub").mkdir()
    monkeypatch.chdir(project / "sub")
    words = Config(model="demo", target="cpu", calib="digits", data="digits", train="digits", output="../demo")
    assert load_config(Path()) == words


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("edgex.toml", "modle = 'x'", r"edgex\.toml: unknown key modle\.\nValid keys there are model, target, arch, "),
        ("pyproject.toml", "[tool.edgex]\nmodle = 'x'", r"pyproject\.toml: unknown key tool\.edgex\.modle\.\nValid"),
        ("pyproject.toml", "[tool]\nedgex = 3", r"pyproject\.toml: tool\.edgex is 3, should be a "),
        ("edgex.toml", "jetpack = 6.2", r"edgex\.toml: jetpack is 6\.2, should be a valid string"),
        ("edgex.toml", "threads = 0", r"edgex\.toml: threads is 0, should be greater than 0"),
        ("edgex.toml", "threads = 1000000", r"edgex\.toml: threads is 1000000, should be less than or equal to 1024"),
        ("edgex.toml", "input_size = 100000", r"input_size is 100000, should be less than or equal to 4096"),
        pytest.param(
            "edgex.toml",
            "calib_seed = 1" + "0" * 100,
            r"calib_seed is 1000.*, should be less than",
            id="a seed of 101 digits",
        ),
        pytest.param("edgex.toml", "max_drop = 1" + "0" * 400, r"max_drop is 1000.*", id="a number of 401 digits"),
        ("edgex.toml", "seconds = inf", r"seconds is inf, should be a finite number"),
        ("edgex.toml", "learning_rate = inf", r"learning_rate is inf, should be a finite number"),
        ("edgex.toml", "max_drop = nan", r"max_drop is nan, should be a finite number"),
        ("edgex.toml", "budget = -inf", r"budget is -inf, should be a finite number"),
        ("edgex.toml", 'output = "a\\u0000"', r"output is 'a\\x00', which has a null character"),
        pytest.param(
            "edgex.toml",
            "model = " + "[" * 10_000,
            r"edgex\.toml is not TOML: it is nested too deeply",
            id="lists without end",
        ),
        pytest.param(
            "edgex.toml", "model = " + "[" * 90 + "]" * 90, r"model is \[\[\[\[\[\[\[\.\.\.", id="lists in lists"
        ),
        pytest.param("edgex.toml", "#" * (2 << 20), r"edgex\.toml is not TOML: it has more than 1 MiB", id="2 MiB"),
        ("edgex.toml", "io = 'int4'", r"edgex\.toml: io is 'int4', should be 'float' or 'int8'"),
        ("edgex.toml", "model = ", r"edgex\.toml is not TOML: Invalid value \(at "),
        ("edgex.toml", "model = '\udcff'", r"edgex\.toml is not TOML: .*utf-8"),
    ],
)
def test_a_file_with_a_fault(name: str, text: str, message: str, project: Path) -> None:
    (project / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=message):
        load_config(project)


def test_init_writes_a_file_that_loads(project: Path) -> None:
    assert init_config(project) == project / "edgex.toml"
    assert load_config(project) == Config(model="model.keras", target="cpu", calib="calib")


def test_init_does_not_overwrite(project: Path) -> None:
    (project / "edgex.toml").write_text("threads = 1\n")
    with pytest.raises(OutputError, match=r"edgex\.toml exists already"):
        init_config(project)
    assert (project / "edgex.toml").read_text() == "threads = 1\n"
    with pytest.raises(OutputError, match=r"edgex\.toml cannot be written: No such file"):
        init_config(project / "nowhere")


def test_the_template_shows_every_key_once(project: Path) -> None:
    keys = re.findall(r"^(?:#: )?(\w+) =", TEMPLATE, re.MULTILINE)
    assert sorted(keys) == sorted(Config.model_fields)
    (project / "edgex.toml").write_text(TEMPLATE.replace("#: ", ""))
    config = load_config(project)
    assert config is not None
    assert None not in config.model_dump().values()
    assert config.target is not None
    assert load_target(config.target, arch=config.arch).options == {"arch": "arm"}
    assert load_target("jetson", jetpack=config.jetpack).options == {"jetpack": "6.2"}
