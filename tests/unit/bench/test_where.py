"""What is told of the machine and of the interpreter that figures were made with."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench import interpreter, machine
from bench.failure import BenchError
from bench.interpreter import Interpreter
from bench.machine import Cores, Ticks

PLAIN = Interpreter(
    executable="/opt/python",
    version="3.13.9",
    options="'--with-lto'",
    prefix="/usr/local",
    system="debian",
    uvloop="0.22.1",
    activator="/opt/activator/__init__.py",
    is_compiled=True,
)


@pytest.mark.parametrize(
    ("told", "is_optimised"),
    [
        (PLAIN, False),
        (replace(PLAIN, options="'--enable-optimizations' '--with-lto'"), True),
        (replace(PLAIN, options=None), None),
        # the distribution's own, whose record is that of another build
        (replace(PLAIN, prefix="/usr"), True),
        (replace(PLAIN, prefix="/usr", system="arch"), False),
    ],
)
def test_an_interpreter_is_known_by_how_it_was_configured(
    told: Interpreter, is_optimised: bool | None
) -> None:
    assert told.is_optimised is is_optimised
    assert bool(told.warnings()) is (is_optimised is False)
    assert told.describe()["warnings"] == told.warnings()


def test_a_slow_interpreter_is_warned_of() -> None:
    (warning,) = PLAIN.warnings()

    assert "Python 3.13.9 was built without --enable-optimizations" in warning
    assert "--python" in warning


def test_starts_that_compile_what_they_run_are_warned_of() -> None:
    told = replace(PLAIN, options=None, is_compiled=False)

    (warning,) = told.warnings()

    assert "each start compiles" in warning
    assert told.describe()["activator_compiled"] is False


def test_this_interpreter_tells_of_itself_and_runs_this_activator() -> None:
    told = interpreter.look_at(sys.executable)

    assert told.version == ".".join(map(str, sys.version_info[:3]))
    assert told.prefix == sys.base_prefix
    assert told.activator.endswith("activator/__init__.py")
    assert told.is_compiled
    source = Path(told.activator).with_name("errors.py")
    compiled = Path(importlib.util.cache_from_source(str(source)))
    assert int.from_bytes(compiled.read_bytes()[8:12], "little") == int(source.stat().st_mtime)


def test_an_interpreter_that_cannot_run_the_activator_is_refused(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n', encoding="utf-8")
    bare.chmod(0o755)

    with pytest.raises(BenchError, match="cannot run the activator: ModuleNotFoundError"):
        interpreter.look_at(str(bare))
    with pytest.raises(BenchError, match="cannot be run"):
        interpreter.look_at(str(tmp_path / "none"))


def cpu_devices(folder: Path, core: int, **files: str) -> Path:
    for name, told in files.items():
        file = folder / f"cpu{core}" / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(told, encoding="ascii")
    return folder


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        ("2-3\n", "contestant's core and core 2 are threads of one: figures are low"),
        ("1,3\n", "none of the contestant's core in use"),
        ("3\n", "none, by what the kernel is told"),
    ],
)
def test_a_core_shared_with_the_load_is_told(listed: str, told: str, tmp_path: Path) -> None:
    devices = cpu_devices(tmp_path, 3, topology__thread_siblings_list=listed)
    cores = Cores(contestant=3, load=2, upstream=0)

    assert machine.siblings(cores, devices=devices) == told
    assert machine.siblings(cores, devices=tmp_path / "none") == "not known"


def test_the_clock_is_told_where_the_kernel_knows_it(tmp_path: Path) -> None:
    devices = cpu_devices(
        tmp_path, 1, cpufreq__scaling_governor="schedutil\n", cpufreq__cpuinfo_max_freq="3400000\n"
    )

    assert machine.frequency(1, devices=devices) == "governor schedutil, at most 3.40 GHz"
    assert machine.frequency(0, devices=devices).startswith("not known")


def test_what_the_host_gave_to_others_is_told_apart_from_what_ran_here() -> None:
    a_second = os.sysconf("SC_CLK_TCK")
    ticks = [1 * a_second, 2 * a_second, 3 * a_second, 900, 50, 7, 8, 5 * a_second, 0, 0]
    text = f"cpu  {' '.join(map(str, ticks))}\ncpu0 1 1 1 1 1 1 1 1 1 1\n"

    assert Ticks.read(text) == Ticks(busy=6.0, stolen=5.0)
