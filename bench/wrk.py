"""wrk, the load generator: as many requests as a number of connections can carry, one at a time."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.failure import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.contestant import Contestant


POST: Final = Path(__file__).parent / "post.lua"
VARIED: Final = Path(__file__).parent / "varied.lua"


@dataclass(frozen=True, slots=True)
class Burst:
    """What one run gave. `cpu_seconds` and `busy` (share of its core) are the contestant's."""

    rate: float
    requests: int
    errors: int
    cpu_seconds: float
    busy: float

    @property
    def cpu_us(self) -> float:
        """Microseconds of the contestant's CPU per request."""
        return self.cpu_seconds / self.requests * 1e6


def installed() -> bool:
    return shutil.which("wrk") is not None


def by_turns(folder: Path, hosts: Sequence[str], *, path: str) -> Path:
    """A script for `burst`: each request goes to the next host."""
    listed = ", ".join(f'"{host}"' for host in hosts)
    script = folder / f"turns-{hosts[0]}-{len(hosts)}.lua"
    script.write_text(
        f"""
local hosts, made, turn = {{ {listed} }}, {{}}, 0
function init()
  for i, host in ipairs(hosts) do made[i] = wrk.format("GET", "{path}", {{ Host = host }}) end
end
function request()
  turn = turn % #made + 1
  return made[turn]
end
""",
        encoding="utf-8",
    )
    return script


def burst(
    to: Contestant,
    *,
    path: str,
    connections: int,
    seconds: float,
    body: Path | None = None,
    varied: bool = False,
    script: Path | None = None,
) -> Burst:
    """GETs, each like the other unless `varied`, or POSTs of what `body` holds (JSON), which differ
    a little in length; or what `script` makes. Raises BenchError if nothing was answered."""
    host, port = to.address
    if script is None:
        script = POST if body is not None else VARIED if varied else None
    before = to.running.cpu_seconds()
    done = subprocess.run(
        [
            *("wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"),
            *("-H", f"Host: {to.host}", *(() if script is None else ("-s", str(script)))),
            f"http://{host}:{port}{path}",
            *(() if body is None else ("--", str(body))),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    after = to.running.cpu_seconds()
    said = done.stdout
    counted = re.search(r"(\d+) requests in ([\d.]+)(ms|s)", said)
    rate = re.search(r"Requests/sec:\s*([\d.]+)", said)
    if done.returncode or counted is None or rate is None or not int(counted.group(1)):
        raise BenchError(f"wrk against {to.name}: {said or done.stderr}")
    took = float(counted.group(2)) * (1e-3 if counted.group(3) == "ms" else 1.0)
    return Burst(
        rate=float(rate.group(1)),
        requests=int(counted.group(1)),
        errors=_errors(said),
        cpu_seconds=after - before,
        busy=(after - before) / took,
    )


def _errors(said: str) -> int:
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    broken = re.search(
        r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said
    )
    return (int(bad.group(1)) if bad else 0) + sum(map(int, broken.groups()) if broken else ())
