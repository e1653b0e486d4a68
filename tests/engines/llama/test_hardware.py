"""What this machine computes with, by what programs and the kernel say; nothing they say is an error."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from palaver.engines.llama import hardware
from palaver.engines.llama.hardware import Gpu, features, gpus, llama, processor, run

SYSTEM = (
    "CPU : SSE3 = 1 | SSSE3 = 1 | AVX = 1 | AVX2 = 1 | F16C = 1 | FMA = 0 | LLAMAFILE = 1 | OPENMP = 1 | "
)
no_mac = pytest.mark.skipif(sys.platform == "darwin", reason="a Mac's is used by the wheel itself")


def silent(command: Sequence[str]) -> str:
    return ""


def files(root: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@no_mac
def test_nvidia_s_own_program_knows_best(tmp_path: Path) -> None:
    def ask(command: Sequence[str]) -> str:
        assert command[0] == "nvidia-smi"
        return "NVIDIA H200, 143771\nNVIDIA GeForce RTX 4090, [N/A]\n\n"

    root = files(
        tmp_path,
        **{
            "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA H200\n",
            "sys/class/drm/renderD128/device/vendor": "0x10de\n",
        },
    )
    assert gpus(root, ask) == [
        Gpu("NVIDIA", "NVIDIA H200", 143_771 * 2**20),
        Gpu("NVIDIA", "NVIDIA GeForce RTX 4090", 0),
    ]


@no_mac
def test_without_the_program_the_driver_and_the_kernel_know(tmp_path: Path) -> None:
    root = files(
        tmp_path,
        **{
            "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA L4\nIRQ: 1\n",
            "sys/class/drm/renderD128/device/vendor": "0x10de\n",
            "sys/class/drm/renderD129/device/vendor": "0x1002\n",
            "sys/class/drm/renderD129/device/device": "0x744c\n",
            "sys/class/drm/renderD129/device/mem_info_vram_total": "25753026560\n",
            "sys/class/drm/renderD130/device/vendor": "0x8086\n",
            "sys/class/drm/renderD130/device/product_name": "Arc B580\n",
            "sys/class/drm/renderD131/device/vendor": "0xffff\n",
            "sys/class/drm/card0/device/vendor": "0x1002\n",
        },
    )
    assert gpus(root, silent) == [
        Gpu("NVIDIA", "NVIDIA L4"),
        Gpu("AMD", "graphics processor 0x744c", 25_753_026_560),
        Gpu("Intel", "Arc B580"),
    ]


def test_where_there_is_none(tmp_path: Path) -> None:
    assert gpus(tmp_path, silent) == []


@pytest.mark.parametrize("answer", ["", "No devices were found\n", ",\n", "\x00\n"])
def test_answers_that_nobody_expected(tmp_path: Path, answer: str) -> None:
    assert gpus(tmp_path, lambda command: answer) == []


def test_a_program_that_is_not_there_or_fails_says_nothing() -> None:
    assert run(("palaver-no-such-program",)) == ""
    assert run((sys.executable, "-c", "print('x'); raise SystemExit(1)")) == ""
    assert run((sys.executable, "-c", "print('x')")) == "x\n"


def test_a_program_that_hangs_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "PATIENCE", 0.1)
    assert run((sys.executable, "-c", "import time; time.sleep(60)")) == ""


def test_the_processor_s_name(tmp_path: Path) -> None:
    info = "processor\t: 0\nmodel name\t: AMD EPYC 9654\nflags\t: avx\nprocessor\t: 1\nmodel name\t: AMD EPYC 9654\n"
    assert processor(files(tmp_path, **{"proc/cpuinfo": info})) == "AMD EPYC 9654"
    assert processor(files(tmp_path, **{"proc/cpuinfo": "Hardware\t: BCM2835\n"})) == "BCM2835"
    assert processor(files(tmp_path, **{"proc/cpuinfo": ""}))


def test_what_llama_cpp_uses_of_it() -> None:
    assert features(SYSTEM) == ["SSE3", "AVX", "AVX2", "F16C"]
    assert features("") == []


def test_the_wheel_says_what_it_computes_on() -> None:
    found = llama()
    assert found.problem == ""
    assert found.devices
    assert found.features


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        (
            "import sys; print('libgomp.so.1: cannot open', file=sys.stderr); sys.exit(1)",
            "libgomp.so.1: cannot open",
        ),
        ("import os; os.abort()", "exit code"),
        ("print('{}')", "exit code 0"),
        ("print('[1]')", "exit code 0"),
    ],
)
def test_a_wheel_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, program: str, problem: str) -> None:
    monkeypatch.setattr(hardware, "ASK_LLAMA", program)
    assert problem in llama().problem


def test_a_wheel_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "PATIENCE", 0.05)
    monkeypatch.setattr(hardware, "ASK_LLAMA", "import time; time.sleep(60)")
    assert "in time" in llama().problem
