"""The GPU as its driver sees it (`nvidia-smi`): memory in use by whomever, and power drawn."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from statistics import median
from typing import Final

from bench.failure import BenchError

INTERVAL: Final = 0.25
"""Seconds between two looks that are averaged: the driver's own figure of power is as old."""


@dataclass(frozen=True, slots=True)
class Reading:
    memory: float
    """MiB in use."""
    power: float | None
    """Watts. None where the driver does not tell."""


@dataclass(frozen=True, slots=True)
class Gpu:
    id: str
    """Index or UUID."""
    name: str
    driver: str

    @classmethod
    def find(cls) -> Gpu | None:
        """The first one that CUDA programs started from here would use. None if there is none."""
        if shutil.which("nvidia-smi") is None:
            return None
        first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
        try:
            name, driver = _ask(first, "name,driver_version")
        except BenchError:
            return None
        return cls(first, name, driver)

    def look(self) -> Reading:
        memory, power = _ask(self.id, "memory.used,power.draw")
        return read(memory, power)

    def watch(self, seconds: float) -> Reading:
        """The medians of so long."""
        looks = [self.look()]
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(INTERVAL)
            looks.append(self.look())
        powers = [one.power for one in looks if one.power is not None]
        return Reading(median(one.memory for one in looks), median(powers) if powers else None)


def read(memory: str, power: str) -> Reading:
    """Of nvidia-smi's words; what a card does not tell is `[N/A]` or the like."""
    return Reading(float(memory), None if power.startswith("[") else float(power))


def _ask(gpu: str, what: str) -> list[str]:
    done = subprocess.run(
        ["nvidia-smi", f"--id={gpu}", f"--query-gpu={what}", "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"nvidia-smi: {(done.stdout + done.stderr).strip()}")
    return [word.strip() for word in done.stdout.strip().split(",")]
