"""`python -m bench [NAME…]`: run benchmarks, print a table each, write bench/out/NAME.json; with
`--plots FOLDER` draw what was written before."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bench import machine, plots, report
from bench.benchmarks import ALL
from bench.failure import BenchError
from bench.interpreter import look_at
from bench.lab import Lab
from bench.machine import Cores
from bench.size import Size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report import Result

OUT = Path(__file__).parent / "out"


def main(arguments: Sequence[str] | None = None) -> int:
    """0: all was measured and is within its limits. 1: something is not. 2: wrong arguments."""
    options = _parse(arguments)
    if options.plots is not None:
        return _plot(options.out, into=options.plots)
    names = options.names or list(ALL)
    try:
        interpreter = look_at(options.python)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 2
    raised = machine.raise_open_files()
    cores = Cores.choose()
    cores.pin_load()
    described = {**machine.describe(cores, open_files=raised), **interpreter.describe()}
    report.print_machine(described, warnings=interpreter.warnings())
    passed = True
    for name in names:
        with TemporaryDirectory(prefix=f"bench-{name}-") as folder:
            bystanders = machine.Bystanders()
            lab = Lab(
                cores=cores,
                size=options.size,
                folder=Path(folder),
                record=options.record,
                interpreter=interpreter.executable,
                model_python=options.model_python,
            )
            try:
                result: Result = ALL[name](lab)
            except (BenchError, OSError) as error:
                print(f"\n{name}: could not be measured: {error}", file=sys.stderr)
                passed = False
                continue
        used, stolen = bystanders.cores_used(), bystanders.cores_stolen()
        report.print_result(result, bystanders=used, stolen=stolen)
        told = {**described, "used_by_others": used, "stolen": stolen}
        report.write(result, told, folder=options.out)
        passed = passed and result.passed
    return 0 if passed else 1


def _plot(results: Path, *, into: Path) -> int:
    try:
        written = plots.write(results, into=into)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    for path in written:
        print(path)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures the activator beside a peer or a limit, on this machine.",
        epilog="example: python -m bench throughput latency --quick",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one or more of {', '.join(ALL)}; default all"
    )
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument(
        "--quick",
        dest="size",
        action="store_const",
        const=Size.QUICK,
        help="some minutes for all: shows that it works, too short for figures to trust",
    )
    sizes.add_argument(
        "--smoke",
        dest="size",
        action="store_const",
        const=Size.SMOKE,
        help="some seconds each: keeps the harness alive, its figures mean nothing",
    )
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the JSON files")
    parser.add_argument(
        "--record",
        action="store_true",
        help="path only: what is counted now is what later runs and the tests are judged by",
    )
    parser.add_argument(
        "--plots",
        type=Path,
        metavar="FOLDER",
        help="measure nothing; draw what the JSON files say as SVG files there",
    )
    parser.add_argument(
        "--python",
        default=sys.executable,
        metavar="PROGRAM",
        help="interpreter that runs the activator, such as the one of a virtual environment that"
        " has it installed; the load is made by this one",
    )
    parser.add_argument(
        "--model-python",
        default=sys.executable,
        metavar="PROGRAM",
        help="gpu only: interpreter with torch and transformers that runs the model",
    )
    parser.set_defaults(size=Size.FULL)
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in ALL:
            parser.error(f"there is no benchmark {name!r}; there are {', '.join(ALL)}")
    if options.record and options.names != ["path"]:
        parser.error("--record goes with path alone")
    return options


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
