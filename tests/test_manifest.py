"""Manifests: what was written, and whether it still is."""

import json
from pathlib import Path

import pytest
from outputs import INT8, fill_output

from edgex.errors import OutputError
from edgex.manifest import FileRecord, artifact_record, file_record, read_manifest, verify


def test_a_manifest_reads_back(tmp_path: Path) -> None:
    fill_output(tmp_path)
    manifest = read_manifest(tmp_path)
    (artifact,) = manifest.artifacts
    assert artifact == artifact_record(tmp_path / "m.int8.onnx", INT8)
    assert (artifact.bytes, artifact.format, artifact.precision) == (5, "onnx", "int8")
    assert manifest.files == (file_record(tmp_path / "plan.json"),)
    assert manifest.target == {"name": "jetson", "jetpack": "6.2"}
    assert manifest.versions["edgex"]
    assert manifest.to_json() == (tmp_path / "manifest.json").read_text()


def test_hashes_are_those_of_sha256sum(tmp_path: Path) -> None:
    file = tmp_path / "abc"
    file.write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert file_record(file) == FileRecord("abc", 3, known)


def test_a_manifest_names_no_place_and_no_time(tmp_path: Path) -> None:
    texts = []
    for folder in (tmp_path / "one", tmp_path / "else" / "where"):
        folder.mkdir(parents=True)
        fill_output(folder)
        texts.append((folder / "manifest.json").read_text())
    assert texts[0] == texts[1]
    assert str(tmp_path) not in texts[0]


@pytest.mark.parametrize("name", ["m.int8.onnx", "plan.json"])
def test_verify_names_what_changed(name: str, tmp_path: Path) -> None:
    fill_output(tmp_path)
    (tmp_path / "report.json").write_text("{}")
    assert verify(tmp_path) == []
    content = bytearray((tmp_path / name).read_bytes())
    content[-1] ^= 1
    (tmp_path / name).write_bytes(content)
    assert [(problem.name, problem.message) for problem in verify(tmp_path)] == [
        (name, "was changed after it was written")
    ]
    (tmp_path / name).write_bytes(bytes(1000))
    assert "1,000 bytes" in verify(tmp_path)[0].message
    (tmp_path / name).unlink()
    assert [(problem.name, problem.message) for problem in verify(tmp_path)] == [(name, "is missing")]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("schema", "edgex.manifest/9", "has the schema 'edgex.manifest/9'"),
        ("artifacts", [{"path": "x"}], "is not a manifest of edgex"),
        ("files", [{"name": "../plan.json", "bytes": 2, "sha256": ""}], r"'\.\./plan\.json' is outside the directory"),
        ("files", [{"name": "..", "bytes": 2, "sha256": ""}], r"'\.\.' is outside the directory"),
        ("files", 3, "is not a manifest of edgex"),
        ("unknown", 3, "is not a manifest of edgex: .*unknown"),
        ("files", [{"name": "x" * 300, "bytes": 2, "sha256": ""}], "none that a file can have"),
        ("files", [{"name": "a\0b", "bytes": 2, "sha256": ""}], "none that a file can have"),
        ("files", [{"name": "a", "bytes": [], "sha256": ""}], "'a' has a size or hash that is none"),
        ("target", 5, "target: Input should be a valid"),
        ("target", {}, "its target has no name"),
        ("target", {"name": 5}, "target.name: Input should be a valid string"),
        ("preprocessing", [], "preprocessing: Input should be a valid"),
        ("baseline", 5, "is not a manifest of edgex"),
    ],
)
def test_a_manifest_with_a_fault(key: str, value: object, message: str, tmp_path: Path) -> None:
    fill_output(tmp_path)
    file = tmp_path / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(OutputError, match=message):
        read_manifest(tmp_path)


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"manifest\.json cannot be read: No such file"):
        verify(tmp_path)
