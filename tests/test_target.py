"""Targets: what ships is right, variants choose, and a file with a fault is refused in words."""

from pathlib import Path

import pytest

from edgex.errors import RuntimeMissingError, UsageError
from edgex.target import TargetProfile, load_target, target_names

FOLDER = Path(__file__).parents[1] / "targets"
JETPACKS = {  # version: (TensorRT, Python, opset limit, opset written)
    "4.6.1": ("8.2", "3.6", 13, 13),
    "5.1.1": ("8.5", "3.8", 17, 17),
    "5.1.2": ("8.5", "3.8", 17, 17),
    "6.0": ("8.6", "3.10", 17, 17),
    "6.1": ("10.3", "3.10", 20, 17),
    "6.2": ("10.3", "3.10", 20, 17),
    "7.0": ("10.13", "3.12", 20, 17),
    "7.1": ("10.13", "3.12", 20, 17),
    "7.2": ("10.16", "3.12", 24, 17),
}


def test_the_three_that_ship() -> None:
    assert target_names() == ("cpu", "gpu-desktop", "jetson")
    for name in target_names():
        profile = load_target(name)
        assert profile.name == name
        assert profile == load_target(str(FOLDER / f"{name}.toml"))


@pytest.mark.parametrize(
    ("name", "artifacts"),
    [
        ("cpu", ["int8.onnx", "int8.tflite", "fp32.onnx", "fp32.tflite"]),
        ("jetson", ["int8.onnx", "fp16.onnx", "int8.tflite", "fp32.onnx"]),
        ("gpu-desktop", ["int8.onnx", "fp16.onnx", "int8.tflite", "fp32.tflite", "fp32.onnx"]),
    ],
)
def test_artifacts(name: str, artifacts: list[str]) -> None:
    assert [str(kind) for kind in load_target(name).artifacts] == artifacts


def _rules(profile: TargetProfile) -> tuple[str, str, str]:
    return profile.activations, profile.onnx.activation_type, profile.onnx.bias


def test_rules() -> None:
    assert _rules(load_target("cpu")) == ("asymmetric", "uint8", "int32")
    assert _rules(load_target("cpu", arch="x86")) == ("asymmetric", "uint8", "int32")
    assert _rules(load_target("cpu", arch="arm")) == ("asymmetric", "int8", "int32")
    assert _rules(load_target("jetson")) == _rules(load_target("gpu-desktop")) == ("symmetric", "int8", "float")


def test_both_tensorrt_targets_have_the_same_operators() -> None:
    jetson, desktop = load_target("jetson").onnx.operators, load_target("gpu-desktop").onnx.operators
    assert jetson == desktop
    assert jetson is not None
    assert len(jetson) == len(set(jetson))


@pytest.mark.parametrize("version", JETPACKS)
def test_jetpacks(version: str) -> None:
    profile = load_target("jetson", jetpack=version)
    assert profile.board is not None
    assert (profile.board.tensorrt, profile.board.python, profile.onnx.opset_limit, profile.opset) == JETPACKS[version]
    assert profile.options == {"jetpack": version}
    assert _rules(profile) == ("symmetric", "int8", "float")


def test_two_to_four_sparsity_pays_from_ampere_on() -> None:
    assert load_target("jetson", jetpack="4.6.1").sparsity == ("channels",)
    assert load_target("jetson", jetpack="5.1.1").sparsity == ("2:4", "channels")


def test_the_first_variant_is_the_default() -> None:
    assert load_target("jetson") == load_target("jetson", jetpack="6.2")
    assert load_target("cpu") == load_target("cpu", arch="x86")
    assert load_target("cpu").options == {"arch": "x86"}
    assert load_target("gpu-desktop").options == {}


def test_an_unknown_target_lists_the_known() -> None:
    with pytest.raises(RuntimeMissingError, match=r"no target 'tpu'\.\nChoose one of cpu, gpu-desktop, jetson"):
        load_target("tpu")


def test_a_missing_file() -> None:
    with pytest.raises(UsageError, match=r"mine\.toml cannot be read: No such file"):
        load_target("mine.toml")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cpu", {"arch": "mips"}, r"cpu has no arch 'mips'\.\n--arch is one of x86, arm\."),
        ("jetson", {"jetpack": "6"}, r"jetson has no jetpack '6'\.\n--jetpack is one of 6\.2, 4\.6\.1, "),
        ("cpu", {"jetpack": "6.2"}, r"cpu has no jetpack '6\.2'\.\nLeave --jetpack out"),
        ("jetson", {"arch": "arm"}, r"jetson has no arch 'arm'"),
    ],
)
def test_an_unknown_variant_lists_the_known(name: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_target(name, **options)


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text((FOLDER / "cpu.toml").read_text().replace('name = "cpu"', 'name = "mine"'))
    assert target_names(tmp_path) == ("mine",)
    assert load_target("mine", targets_dir=tmp_path).name == "mine"


@pytest.mark.parametrize(
    ("text", "replacement", "message"),
    [
        ("summary =", "sumary =", r"unknown key sumary\.\nValid keys there are name, summary, activations, artifacts"),
        ("bias =", "byas =", r"unknown key onnx\.byas\.\nValid keys there are opset, opset_limit, activation_type"),
        ("onnx.activation_type", "onnx.type", r"unknown key arch\.arm\.onnx\.type\.\nValid keys there are opset, "),
        ("[onnx]", "board.cuda = '12'\nboard.os = 'L4T'\n[onnx]", r"unknown key board\.os\.\nValid keys there are mod"),
        ("summary =", "# summary =", "summary is missing"),
        ("opset = 17", "opset = 12", r"onnx\.opset is 12, should be greater than or equal to 13"),
        ("opset = 17", "opset = 17\nopset_limit = 12", r"onnx\.opset_limit is 12, should be greater than or eq"),
        ('"int8.onnx"', '"fp16.tflite"', r"artifacts\.0 is 'fp16\.tflite', edgex writes int8\.onnx, int8\.tflite, "),
        ('"int8.onnx"', '"mixed.onnx"', r"artifacts\.0 is 'mixed\.onnx', edgex writes int8\.onnx, "),
        ('"int8.onnx"', '"fp32.keras"', r"artifacts\.0 is 'fp32\.keras', edgex writes int8\.onnx, "),
        ('name = "cpu"', 'name = "../cpu"', r"name is '\.\./cpu', folders are named after it"),
        ('name = "cpu"', 'name = ""', r"name is '', folders are named after it"),
        ('"int8.onnx"', '"int8"', r"artifacts\.0 is 'int8', 'int8' is not a precision and a format"),
        ('"int8.onnx"', "8", r"artifacts\.0 is 8, "),
        ('"fp32.onnx", ', "", r"fp32\.onnx must be among them"),
        ('"asymmetric"', '"lopsided"', r"activations is 'lopsided', should be 'asymmetric' or 'symmetric'"),
        ("[arch.x86]", "[arch]\nx86 = 1", r"arch is not a table of variants"),
        ("[onnx]", "[onnx", "is not TOML: .* line"),
    ],
)
def test_a_file_with_a_fault(text: str, replacement: str, message: str, tmp_path: Path) -> None:
    good = (FOLDER / "cpu.toml").read_text()
    assert text in good
    file = tmp_path / "mine.toml"
    file.write_text(good.replace(text, replacement, 1))
    with pytest.raises(UsageError, match=message) as caught:
        load_target(str(file))
    assert str(file) in str(caught.value)
