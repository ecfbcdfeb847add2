"""What the CPU can do, from excerpts of what Linux and macOS say of several machines, and from this machine."""

import platform
from pathlib import Path

import pytest

from edgex.cpu import ARM, FEATURES, X86, Cpu, advice, parse_cpuinfo, parse_sysctl, read_cpu

SAPPHIRE_RAPIDS = """\
processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Platinum 8480+
flags\t\t: fpu sse4_2 avx f16c avx2 avx512f avx_vnni avx512_bf16 avx512_vnni amx_bf16 amx_tile amx_int8
vmx flags\t: vnmi ept

processor\t: 1
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Platinum 8480+
flags\t\t: fpu sse4_2 avx f16c avx2 avx512f avx_vnni avx512_bf16 avx512_vnni amx_bf16 amx_tile amx_int8
"""
HASWELL = """\
processor\t: 0
model name\t: Intel(R) Core(TM) i7-4770 CPU @ 3.40GHz
flags\t\t: fpu sse4_2 avx f16c avx2
"""
SKYLAKE_SERVER = """\
processor\t: 0
model name\t: Intel(R) Xeon(R) Gold 6148 CPU @ 2.40GHz
flags\t\t: fpu sse4_2 avx f16c avx2 avx512f avx512bw avx512vl
"""
ALDER_LAKE = """\
processor\t: 0
model name\t: 12th Gen Intel(R) Core(TM) i7-1260P
flags\t\t: fpu sse4_2 avx f16c avx2 avx_vnni
"""
NANO = """\
processor\t: 0
model name\t: ARMv8 Processor rev 1 (v8l)
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32
CPU implementer\t: 0x41
CPU part\t: 0xd07
"""
TX2 = """\
processor\t: 0
model name\t: ARMv8 Processor rev 3 (v8l)
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32
CPU implementer\t: 0x41
CPU part\t: 0xd07

processor\t: 1
model name\t: ARMv8 Processor rev 0 (v8l)
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32
CPU implementer\t: 0x4e
CPU part\t: 0x003
"""
ORIN = """\
processor\t: 0
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd42
"""
BIG_LITTLE = """\
processor\t: 0
Features\t: fp asimd
CPU implementer\t: 0x41
CPU part\t: 0xd03

processor\t: 1
Features\t: fp asimd asimddp i8mm
CPU implementer\t: 0x41
CPU part\t: 0xd0b
"""
GRAVITON_3 = """\
processor\t: 0
Features\t: fp asimd asimddp sve i8mm bf16
CPU implementer\t: 0x41
CPU part\t: 0xd40
"""
M2 = """\
machdep.cpu.cores_per_package: 8
machdep.cpu.brand_string: Apple M2
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_BF16: 1
hw.optional.arm.FEAT_I8MM: 1
hw.optional.arm.FEAT_SME: 0
"""
M1 = """\
machdep.cpu.brand_string: Apple M1
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_BF16: 0
hw.optional.arm.FEAT_I8MM: 0
"""
INTEL_MAC = """\
machdep.cpu.brand_string: Intel(R) Core(TM) i9-9880H CPU @ 2.30GHz
hw.optional.avx2_0: 1
hw.optional.avx512f: 0
"""

LINUX = {
    "Xeon with AMX": (SAPPHIRE_RAPIDS, X86, "Intel(R) Xeon(R) Platinum 8480+", set(FEATURES[X86])),
    "AVX2 only": (HASWELL, X86, "Intel(R) Core(TM) i7-4770 CPU @ 3.40GHz", {"AVX2"}),
    "AVX-512 without VNNI": (SKYLAKE_SERVER, X86, "Intel(R) Xeon(R) Gold 6148 CPU @ 2.40GHz", {"AVX2", "AVX-512"}),
    "laptop with AVX-VNNI": (ALDER_LAKE, X86, "12th Gen Intel(R) Core(TM) i7-1260P", {"AVX2", "VNNI"}),
    "Jetson Nano": (NANO, ARM, "Cortex-A57", set()),
    "Jetson TX2": (TX2, ARM, "Cortex-A57 + Denver 2", set()),
    "Jetson Orin": (ORIN, ARM, "Cortex-A78AE", {"dot product"}),
    "what only some cores have": (BIG_LITTLE, ARM, "Cortex-A76", set()),
    "Graviton 3, unnamed": (GRAVITON_3, ARM, None, set(FEATURES[ARM])),
}
MACOS = {
    "M2": (M2, ARM, "Apple M2", {"dot product": True, "I8MM": True, "BF16": True}),
    "M1": (M1, ARM, "Apple M1", {"dot product": True, "I8MM": False, "BF16": False}),
    "Intel": (
        INTEL_MAC,
        X86,
        "Intel(R) Core(TM) i9-9880H CPU @ 2.30GHz",
        {"AVX2": True, "AVX-512": False, "VNNI": None, "AMX-INT8": None, "BF16": None},
    ),
}


@pytest.mark.parametrize(("text", "architecture", "name", "present"), LINUX.values(), ids=LINUX)
def test_linux(text: str, architecture: str, name: str | None, present: set[str]) -> None:
    expected = {feature: feature in present for feature in FEATURES[architecture]}
    assert parse_cpuinfo(text, architecture) == (name, expected)


@pytest.mark.parametrize(("text", "architecture", "name", "features"), MACOS.values(), ids=MACOS)
def test_macos(text: str, architecture: str, name: str, features: dict[str, bool | None]) -> None:
    assert parse_sysctl(text, architecture) == (name, features)


@pytest.mark.parametrize("parse", [parse_cpuinfo, parse_sysctl])
@pytest.mark.parametrize("architecture", [X86, ARM])
def test_silence_is_not_a_no(parse, architecture: str) -> None:
    assert parse("", architecture) == (None, dict.fromkeys(FEATURES[architecture]))


def test_another_architecture_has_no_features_of_ours() -> None:
    assert parse_cpuinfo("processor\t: 0\nmodel name\t: sifive,u74\n", "riscv64") == ("sifive,u74", {})


def cpu(text: str, architecture: str) -> Cpu:
    name, features = parse_cpuinfo(text, architecture)
    return Cpu(name, architecture, 4, 8, features)


@pytest.mark.parametrize(
    ("text", "architecture", "words"),
    [
        (HASWELL, X86, ["no VNNI"]),
        (SKYLAKE_SERVER, X86, ["no VNNI"]),
        (ALDER_LAKE, X86, []),
        (SAPPHIRE_RAPIDS, X86, ["bfloat16"]),
        (NANO, ARM, ["no dot product"]),
        (ORIN, ARM, []),
        (GRAVITON_3, ARM, []),
        ("", X86, ["does not tell whether the CPU has AVX2, AVX-512, VNNI, AMX-INT8, BF16"]),
        ("", "riscv64", []),
    ],
)
def test_advice(text: str, architecture: str, words: list[str]) -> None:
    sentences = advice(cpu(text, architecture))
    assert len(sentences) == len(words)
    assert all(word in sentence for word, sentence in zip(words, sentences, strict=True))


def test_this_machine() -> None:
    found = read_cpu()
    assert found.architecture in (X86, ARM, platform.machine().lower())
    assert set(found.features) == set(FEATURES.get(found.architecture, ()))
    assert found.logical_cores is None or found.logical_cores >= (found.physical_cores or 1)


@pytest.mark.skipif(platform.machine() != "x86_64" or platform.system() != "Linux", reason="reads x86 Linux' own list")
def test_this_machine_has_what_its_kernel_lists() -> None:
    listed = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found = read_cpu().features
    assert found["AVX2"] == (" avx2 " in listed)
    assert found["VNNI"] == ("_vnni" in listed)
