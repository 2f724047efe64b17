"""`python -m bench.peers` (`make bench-peers`): installs activators and routers that the benchmark
`chat` measures beside ours, from PyPI and the Go module proxy into .peers/, some 1 GB. What cannot
be installed is named, and left out of the benchmark.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

from bench.failure import BenchError

FOLDER: Final = Path(__file__).parents[1] / ".peers"
LLAMA_SWAP: Final = FOLDER / "llama-swap" / "llama-swap"
VLLM_ROUTER: Final = FOLDER / "vllm-router" / "bin" / "vllm-router"
SGLANG_ROUTER: Final = FOLDER / "sglang-router" / "bin" / "smg"
LITELLM: Final = FOLDER / "litellm" / "bin" / "litellm"
NAMES: Final = {
    LLAMA_SWAP: "llama-swap",
    VLLM_ROUTER: "vllm-router",
    SGLANG_ROUTER: "sglang-router",
    LITELLM: "litellm",
}
"""Also of the package."""
REQUIREMENTS: Final = {
    VLLM_ROUTER: "vllm-router",
    SGLANG_ROUTER: "sglang-router",
    LITELLM: "litellm[proxy]",
}
LLAMA_SWAP_MODULE: Final = "github.com/mostlygeek/llama-swap"
LLAMA_SWAP_VERSION: Final = "v0.1.6-0.20260708034905-fdda55e46644"
"""Its tags (v150, …) are none that Go takes for versions: a commit has to be named."""


def versions() -> dict[str, str]:
    """Of those installed."""
    found = {"llama-swap": LLAMA_SWAP_VERSION} if LLAMA_SWAP.exists() else {}
    for program in REQUIREMENTS:
        name = NAMES[program]
        paths = [str(path) for path in program.parents[1].glob("lib/python*/site-packages")]
        for each in distributions(name=name, path=paths):
            found[name] = each.version
    return found


def install_package(program: Path, requirement: str) -> None:
    """A virtual environment of its own, since they want different versions of the same things."""
    environment = program.parents[1]
    _run([sys.executable, "-m", "venv", str(environment)])
    _run([str(environment / "bin" / "pip"), "install", "--quiet", "--upgrade", requirement])
    if not program.exists():
        raise BenchError(f"{requirement} brings no {program.name}")


def install_llama_swap() -> None:
    """Built from its module as a requirement: `go install` asks for the list of its versions, too,
    of which there are none, and some module proxies refuse that."""
    go = shutil.which("go")
    if go is None:
        raise BenchError("there is no Go (go.dev/dl)")
    folder = LLAMA_SWAP.parent
    folder.mkdir(parents=True, exist_ok=True)
    required = f"module peers\n\ngo 1.24\n\nrequire {LLAMA_SWAP_MODULE} {LLAMA_SWAP_VERSION}\n"
    (folder / "go.mod").write_text(required, encoding="utf-8")
    _run([go, "build", "-mod=mod", "-o", str(LLAMA_SWAP), LLAMA_SWAP_MODULE], folder=folder)


def main() -> int:
    """0: all are there. 1: something is not."""
    failed = 0
    for program, name in NAMES.items():
        print(f"{name}: installing", flush=True)
        try:
            if program == LLAMA_SWAP:
                install_llama_swap()
            else:
                install_package(program, REQUIREMENTS[program])
        except (BenchError, OSError) as error:
            print(f"{name}: cannot be installed, left out: {error}", file=sys.stderr)
            failed += 1
    for name, version in versions().items():
        print(f"{name} {version}")
    return 1 if failed else 0


def _run(command: list[str], *, folder: Path | None = None) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "GOFLAGS": "-buildvcs=false", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise BenchError(words[-1] if words else f"{command[0]}: exit status {done.returncode}")


if __name__ == "__main__":
    sys.exit(main())
