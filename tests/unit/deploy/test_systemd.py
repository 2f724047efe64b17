"""The unit file calls the command line as it is, and stops it as the documentation says."""

from __future__ import annotations

import shlex
from configparser import ConfigParser
from pathlib import Path

import pytest

from activator.cli.arguments import parse
from activator.config.schema import ServerSection
from activator.config.units import parse_duration

UNIT = Path(__file__).parents[3] / "deploy" / "systemd" / "activator.service"


@pytest.fixture
def service() -> dict[str, str]:
    unit = ConfigParser(interpolation=None, delimiters=("=",))
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way
    unit.read(UNIT, encoding="utf-8")
    return dict(unit["Service"])


@pytest.mark.parametrize("key", ["ExecStartPre", "ExecStart"])
def test_it_runs_commands_that_exist(service: dict[str, str], key: str) -> None:
    program, *arguments = shlex.split(service[key])
    args = parse(arguments)
    assert Path(program).name == "activator"
    assert args.config == "/etc/activator/activator.yaml"


def test_sigterm_goes_to_the_activator_alone(service: dict[str, str]) -> None:
    assert service["KillMode"] == "mixed"


def test_it_is_given_the_time_that_the_defaults_ask_for(service: dict[str, str]) -> None:
    keys = ServerSection.model_validate({})
    assert parse_duration(service["TimeoutStopSec"].removesuffix("in")) > (
        keys.drain_delay + keys.shutdown_grace
    )
