"""Rows 6, 18 to 25 and 27 to 29 of the faults to survive: what is wrong with images and labels. Numbers as there."""

import json
import os
import shutil
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import EDGEX, Outcome, edgex, environment, refused
from PIL import Image

from edgex.errors import ExitCode
from edgex.resources import calib_data_dir, demo_model, digits_file

INT8, FLOAT = "out/xception-digits.int8.onnx", "out/xception-digits.fp32.tflite"


def digit(index: int) -> Image.Image:
    """One of those that neither training nor calibration saw."""
    with np.load(digits_file()) as digits:
        return Image.fromarray(digits["x"][digits["split"] == "test"][index, ..., 0])


def fill(folder: Path, classes: int = 10, each: int = 4, first: int = 0) -> Path:
    """Class folders 0, 1, … with digits, not those that they are named by."""
    for index in range(first, first + classes * each):
        kind = folder / str(index % classes)
        kind.mkdir(parents=True, exist_ok=True)
        digit(index).save(kind / f"{index:03d}.png")
    return folder


def zipped(folder: Path) -> Path:
    """The folder as an archive beside it, without compression."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, file.relative_to(folder))
    return path


def quantize(folder: Path, calib: object, *options: object) -> Outcome:
    return edgex("quantize", "demo", "--target", "cpu", "--calib", calib, "-o", "new", "--json", *options, cwd=folder)


def evaluate(project: Path, data: object, *options: object) -> Outcome:
    return edgex("eval", INT8, FLOAT, "--data", data, "--json", *options, cwd=project)


def recorded(folder: Path) -> Any:
    """What the manifest says of the data."""
    return json.loads((folder / "new" / "manifest.json").read_text())["data"]


def refused_by_both(project: Path, folder: Path, data: Path, *words: str) -> None:
    """Neither calibration nor evaluation takes the images; nothing is written."""
    refused(quantize(folder, data), ExitCode.DATA_REFUSED, data.name, *words)
    assert not (folder / "new").exists()
    refused(evaluate(project, data), ExitCode.DATA_REFUSED, data.name, *words)


def test_6_another_number_of_classes(project: Path, folder: Path) -> None:
    data = fill(folder / "data", classes=3)
    refused(evaluate(project, data), ExitCode.USAGE, "data", "10 classes", "labels for 3")


def test_6_another_number_of_classes_to_train_on(folder: Path) -> None:
    data = fill(folder / "data", classes=3)
    outcome = quantize(folder, "digits", "--mode", "qat", "--train", data)
    refused(outcome, ExitCode.USAGE, "data", "10 classes", "labels for 3")
    assert not (folder / "new").exists()
    assert "calibrate" not in outcome.err, "that takes minutes on a real model"


def test_18_flat_folder(project: Path, folder: Path) -> None:
    (folder / "flat").mkdir()
    for index in range(40):
        digit(index).save(folder / "flat" / f"{index}.png")
    refused(evaluate(project, folder / "flat"), ExitCode.DATA_REFUSED, "flat", "40 images", "--labels")
    assert quantize(folder, "flat").code == 0


def test_19_empty_class_folder(project: Path, folder: Path) -> None:
    data = fill(folder / "data", classes=9)
    (data / "9").mkdir()
    outcome = evaluate(project, data)
    assert outcome.code == 0, outcome.err
    assert "no image of the class '9'" in outcome.err
    assert any("'9'" in warning for warning in outcome.document["warnings"])


def test_20_corrupt_images(project: Path, folder: Path) -> None:
    data = fill(folder / "data")
    content = (data / "3" / "003.png").read_bytes()
    (data / "3" / "003.png").write_bytes(content[: len(content) // 2])
    (data / "4" / "004.png").write_bytes(b"no image")
    words = ("3/003.png", "4/004.png", "--max-bad 2")
    for source in (data, zipped(data)):
        refused_by_both(project, folder, source, *words)
        for outcome in (quantize(folder, source, "--max-bad", 2), evaluate(project, source, "--max-bad", 2)):
            assert outcome.code == 0, outcome.err
            assert "2 of 40 images were left out: 3/003.png" in outcome.err
            assert any("4/004.png" in warning for warning in outcome.document["warnings"])
        assert (recorded(folder)["images"], recorded(folder)["unreadable"]) == (38, 2)
        shutil.rmtree(folder / "new")
    refused(quantize(folder, data, "--max-bad", 1), ExitCode.DATA_REFUSED, *words)


def test_20_wrong_checksum_in_a_zip(project: Path, folder: Path) -> None:
    data = fill(folder / "data")
    damaged = zipped(data)
    content = (data / "3" / "003.png").read_bytes()
    damaged.write_bytes(damaged.read_bytes().replace(content, content[:-1] + b"!"))
    refused_by_both(project, folder, damaged, "3/003.png", "CRC", "--max-bad 1")
    for outcome in (quantize(folder, damaged, "--max-bad", 1), evaluate(project, damaged, "--max-bad", 1)):
        assert outcome.code == 0, outcome.err
        assert "1 of 40 images were left out: 3/003.png" in outcome.err
    plan = json.loads((folder / "new" / "plan.json").read_text())
    assert len(plan["calibration"]["sources"]) == 39


def test_20_all_images_corrupt(folder: Path) -> None:
    data = fill(folder / "data", each=1)
    for file in data.rglob("*.png"):
        file.write_bytes(b"no image")
    refused(quantize(folder, "data", "--max-bad", 100), ExitCode.DATA_REFUSED, "data")


def test_21_images_of_all_kinds(folder: Path) -> None:
    data = fill(folder / "data")
    image = digit(0).resize((20, 30))
    for number, mode in enumerate(("CMYK", "L", "LA", "RGBA", "P", "1")):
        suffix = "tiff" if mode == "CMYK" else "png"
        image.convert("RGBA" if mode == "LA" else "RGB").convert(mode).save(data / "0" / f"kind{number}.{suffix}")
    Image.fromarray(np.asarray(image, np.uint16) * 256).save(data / "0" / "deep.png")
    outcome = quantize(folder, "data")
    assert outcome.code == 0, outcome.err
    assert recorded(folder)["images"] == 47


def test_22_rotation_is_applied_and_recorded(project: Path, folder: Path) -> None:
    """The digits lie on their side, and say so: they are read as well as the upright ones."""
    exif = Image.Exif()
    exif[0x0112] = 6
    with np.load(digits_file()) as digits:
        labels = digits["y"][digits["split"] == "test"]
    for index in range(40):
        for name, quarter, options in (
            ("said", Image.Transpose.ROTATE_90, {"exif": exif}),
            ("unsaid", Image.Transpose.ROTATE_90, {}),
        ):
            kind = folder / name / str(labels[index])
            kind.mkdir(parents=True, exist_ok=True)
            digit(index).transpose(quarter).resize((64, 64)).save(kind / f"{index}.png", **options)
    said, unsaid = (evaluate(project, folder / name).document["results"][0]["top1"] for name in ("said", "unsaid"))
    assert said > 0.9
    assert unsaid < 0.6
    assert quantize(folder, "said").code == 0
    assert recorded(folder)["turned_by_exif"] == 40
    assert quantize(folder, "unsaid").code == 0
    assert recorded(folder)["turned_by_exif"] == 0


def huge_png() -> bytes:
    """A few bytes that unpack into 60,000 × 60,000 pixels of one colour."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    side = 60_000
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + side)) for _ in range(side // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="this system does not say how much memory a child took")
def test_23_huge_image_allocates_nothing(project: Path, folder: Path) -> None:
    data = fill(folder / "data")
    (data / "0" / "huge.png").write_bytes(huge_png())
    refused_by_both(project, folder, data, "0/huge.png", "3600000000 pixels")
    peaks = []
    for images, expected in ((data, ExitCode.DATA_REFUSED), (fill(folder / "plain"), ExitCode.OK)):
        command = [EDGEX, "quantize", "demo", "--target", "cpu", "--calib", str(images), "-o", str(folder / "new")]
        child = os.posix_spawn(command[0], command, environment(), file_actions=_silent())
        _, status, usage = os.wait4(child, 0)
        assert os.waitstatus_to_exitcode(status) == expected
        peaks.append(usage.ru_maxrss)
    assert peaks[0] < 1.2 * peaks[1]


def _silent() -> list[tuple[int, int, str, int, int]]:
    return [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]


def test_24_other_files_are_ignored_and_counted(folder: Path) -> None:
    data = fill(folder / "data")
    (data / ".hidden.png").write_bytes(b"hidden")
    (data / "1" / "Thumbs.db").write_bytes(b"not an image")
    (data / "2" / "notes.txt").write_text("not an image")
    (data / "3" / "loop").symlink_to(data, target_is_directory=True)
    outcome = quantize(folder, "data")
    assert outcome.code == 0, outcome.err
    assert (recorded(folder)["images"], recorded(folder)["other_files"]) == (40, 4)


def test_25_odd_names(folder: Path) -> None:
    odd = folder / "a b\nc é 漢 'q' \"d\" 100%"
    odd.mkdir()
    model = odd / "my model\né {x}.keras"
    shutil.copy(demo_model(), model)
    fill(odd / "cal ib\né", each=1)
    with zipfile.ZipFile(odd / "té st.zip", "w") as archive:
        for file in fill(odd / "va l", first=100).rglob("*.png"):
            archive.write(file, f"é {file.parent.name}\n/{file.name}")
    arguments = ("--target", "cpu", "--calib", odd / "cal ib\né", "-o", odd / "out é\n")
    outcome = edgex("quantize", model, *arguments, "--json", cwd=folder)
    assert outcome.code == 0, outcome.err
    paths = [entry["path"] for entry in outcome.document["artifacts"]]
    assert all(Path(path).is_file() for path in paths)
    results = edgex("eval", *paths, "--data", odd / "té st.zip", "--json", cwd=folder).document["results"]
    assert [result["path"] for result in results] == paths
    for command in (
        ("verify", odd / "out é\n"),
        ("lint", paths[0], "--target", "cpu"),
        ("bench", paths[1], "--runs", 2),
    ):
        assert edgex(*command, cwd=folder).code == 0


def test_27_no_calibration_images(folder: Path) -> None:
    (folder / "empty" / "class").mkdir(parents=True)
    (folder / "empty" / "notes.txt").write_text("no image")
    refused(quantize(folder, "empty"), ExitCode.USAGE, "empty", "no images", "class/name.jpg")
    refused(quantize(folder, "missing"), ExitCode.USAGE, "missing does not exist")


def test_28_images_of_one_colour(folder: Path) -> None:
    data = fill(folder / "data")
    files = sorted(data.rglob("*.png"))
    Image.new("L", (8, 8), 7).save(files[0])
    outcome = quantize(folder, "data")
    assert outcome.code == 0, outcome.err
    assert "1 of 40 calibration images are of one colour, first 0/000.png" in outcome.err
    shutil.rmtree(folder / "new")
    for number, file in enumerate(files):
        Image.new("L", (8, 8), number).save(file)
    refused(quantize(folder, "data"), ExitCode.DATA_REFUSED, "data", "one colour")
    assert not (folder / "new").exists()


def test_28_one_class_only(project: Path, folder: Path) -> None:
    data = fill(folder / "data", classes=1, each=40)
    outcome = quantize(folder, "data")
    assert outcome.code == 0, outcome.err
    assert "one class, '0'" in outcome.err
    for number in range(1, 10):
        (data / str(number)).mkdir()
    assert "one class, '0'" in evaluate(project, data).err


def test_29_the_same_images_for_calibration_and_evaluation(project: Path, folder: Path) -> None:
    assert quantize(folder, calib_data_dir(), "--calib-count", 50).code == 0
    renamed = folder / "data"
    for number, file in enumerate(sorted(calib_data_dir().rglob("*.png"))):
        (renamed / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, renamed / file.parent.name / f"renamed {number}.png")
    arguments = ("new/xception-digits.int8.onnx", "--data", "data")
    refused(edgex("eval", *arguments, cwd=folder), ExitCode.USAGE, "50 of 100 images in data", "renamed")
    assert evaluate(project, fill(folder / "others")).code == 0
