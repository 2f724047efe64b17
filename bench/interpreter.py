"""The Python that runs the activator: which one it is, and how it was built."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.failure import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

SLOWER: Final = "1.6"
"""Times the CPU time of a request without profile-guided optimisation, about."""
PROFILED_BY: Final = ("debian", "ubuntu")
"""Distributions whose own interpreter is optimised by a profile although its record does not say
so: that is the one of another build, of the shared library."""
_QUESTION: Final = """
import compileall, json, pathlib, platform, sys, sysconfig
from importlib.metadata import version
import activator.app
try:
    release = platform.freedesktop_os_release()
except OSError:
    release = {}
print(json.dumps({
    "executable": sys.executable,
    "version": platform.python_version(),
    "options": sysconfig.get_config_var("CONFIG_ARGS"),
    "prefix": sys.base_prefix,
    "system": release.get("ID", ""),
    "uvloop": version("uvloop"),
    "activator": activator.__file__,
    "is_compiled": compileall.compile_dir(pathlib.Path(activator.__file__).parent, quiet=2),
}))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    executable: str
    version: str
    options: str | None
    """Of its configure script, as recorded. None where nothing is."""
    prefix: str
    """Where it is installed; of a virtual environment, the one that it was made by."""
    system: str
    """The distribution's id in /etc/os-release; empty where there is none."""
    uvloop: str
    activator: str
    """The file of the package that it runs."""
    is_compiled: bool
    """Its modules beforehand, as where it is installed, whether or not this interpreter may keep
    what it compiles (PYTHONDONTWRITEBYTECODE)."""

    @property
    def is_optimised(self) -> bool | None:
        """By the profile of a run (--enable-optimizations). None where it cannot be told."""
        if self.prefix == "/usr" and self.system in PROFILED_BY:
            return True
        return None if self.options is None else "--enable-optimizations" in self.options

    def describe(self) -> dict[str, object]:
        how = {
            True: "optimised by a profile",
            False: "not optimised by a profile",
            None: "not known",
        }
        return {
            "python": self.version,
            "python_executable": self.executable,
            "python_build": how[self.is_optimised],
            "python_options": self.options,
            "uvloop": self.uvloop,
            "activator": self.activator,
            "activator_compiled": self.is_compiled,
            "warnings": self.warnings(),
        }

    def warnings(self) -> list[str]:
        """What a reader of figures must know of it."""
        found = []
        if self.is_optimised is False:
            found.append(
                f"Python {self.version} was built without --enable-optimizations: the activator"
                f" takes about {SLOWER} times the CPU time that it takes in the Docker image; name"
                " another one with --python"
            )
        if not self.is_compiled:
            found.append(
                f"what Python compiles cannot be kept beside {self.activator}: each start compiles"
                " all of it, which takes half as long again"
            )
        return found


def look_at(executable: str) -> Interpreter:
    """Asks it, where benchmarks start it, too, and has it compile what it is to run. Raises
    BenchError if it cannot run the activator."""
    command: Sequence[str] = (executable, "-c", _QUESTION)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BenchError(f"{executable} cannot be run: {error}") from error
    if done.returncode:
        words = done.stderr.strip().splitlines()
        raise BenchError(f"{executable} cannot run the activator: {words[-1] if words else ''}")
    return Interpreter(**json.loads(done.stdout))
