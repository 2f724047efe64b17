"""The texts that scrapers read: Prometheus' format 0.0.4, and OpenMetrics 1.0.

Decides how names, labels and numbers are written: as prometheus_client does, which makes objects of
all numbers, and the text in one go. What there is to tell is `families`'.
"""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeVar

from prometheus_client import exposition as plain
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.utils import floatToGoString

from activator.telemetry.families import ENDPOINT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prometheus_client import CollectorRegistry

    from activator.telemetry.families import Family, Key

Of = TypeVar("Of")

BATCH: Final = 256
"""Endpoints that are gone through in one go where none has more than a number: a tenth of a
millisecond."""


class Format(Enum):
    """By its content type."""

    PLAIN = plain.CONTENT_TYPE_PLAIN_0_0_4
    OPENMETRICS = openmetrics.CONTENT_TYPE_LATEST

    @classmethod
    def wanted(cls, accept: str) -> Format:
        """OpenMetrics for whoever lists it in `Accept`."""
        offered = {one.partition(";")[0].strip().lower() for one in accept.split(",")}
        return cls.OPENMETRICS if "application/openmetrics-text" in offered else cls.PLAIN

    def head(self, family: Family[Any]) -> str:
        name, meaning = family.name, escaped(family.meaning)
        if self is Format.PLAIN:
            name, meaning = family.sample, _in_one_line(family.meaning)
        return f"# HELP {name} {meaning}\n# TYPE {name} {family.kind}\n"

    def end(self, registry: CollectorRegistry) -> str:
        """What the library tells itself, which is little, and whatever ends the whole."""
        if self is Format.OPENMETRICS:
            told: bytes = openmetrics.generate_latest(  # type: ignore[no-untyped-call]  # is untyped
                registry
            )
            return told.decode()
        return plain.generate_latest(registry).decode()


def of_process(family: Family[Of], process: Of) -> str:
    return f"{family.sample} {number(family.read(process))}\n"


def of_endpoints(family: Family[Of], names: Sequence[str], each: Sequence[Of]) -> Iterator[str]:
    """`names`: of `each`, as `escaped` writes them.

    Between two texts numbers may change: those of one endpoint are in one, and of one moment.
    """
    rows = _Histograms(family) if family.kind == "histogram" else _Numbers(family)
    for begin in range(0, len(names), BATCH):
        told = map(family.read, each[begin : begin + BATCH])
        batch = zip(names[begin : begin + BATCH], told, strict=True)
        if not family.labels and family.kind != "histogram":
            before, after = rows.around(())
            yield "".join([f"{before}{name}{after}{number(value)}\n" for name, value in batch])
            continue
        for name, values in batch:
            if values:
                yield rows.of(name, values)
        yield ""


class _Numbers:
    """The rows of a family."""

    def __init__(self, family: Family[Any]) -> None:
        self._family = family
        self._layouts: dict[Key, Any] = {}
        """By what the family's own labels say."""

    def of(self, name: str, told: Any) -> str:
        """`name`: the endpoint's."""
        if not self._family.labels:
            return self._row(name, (), told)
        return "".join([self._row(name, key, value) for key, value in told.items()])

    def around(self, key: Key, *, suffix: str = "", **more: str) -> tuple[str, str]:
        """What is written before the name of an endpoint, and after it."""
        values = (key,) if isinstance(key, str) else key
        labels = dict(zip(self._family.labels, map(escaped, values), strict=True)) | more
        # all of them, and the endpoint's, in the order of their names
        before = [f'{label}="{labels[label]}",' for label in sorted(labels) if label < ENDPOINT]
        after = [f',{label}="{labels[label]}"' for label in sorted(labels) if label > ENDPOINT]
        sample = self._family.sample + suffix
        return f'{sample}{{{"".join(before)}{ENDPOINT}="', f'"{"".join(after)}}} '

    def _row(self, name: str, key: Key, value: Any) -> str:
        layout = self._layouts.get(key)
        if layout is None:
            layout = self._layouts[key] = self.around(key)
        before, after = layout
        return f"{before}{name}{after}{number(value)}\n"


class _Histograms(_Numbers):
    """A row is all of one: its buckets, count and sum."""

    def _row(self, name: str, key: Key, value: Any) -> str:
        if not value:
            return ""
        layout = self._layouts.get(key)
        if layout is None:
            layout = self._layouts[key] = [
                *(self.around(key, suffix="_bucket", le=le) for le, _ in value.buckets()),
                self.around(key, suffix="_count"),
                self.around(key, suffix="_sum"),
            ]
        counts = value.cumulative()
        numbers = map(number, (*counts, counts[-1], value.total))
        return "".join(
            [
                f"{before}{name}{after}{each}\n"
                for (before, after), each in zip(layout, numbers, strict=True)
            ]
        )


def escaped(value: str) -> str:
    """As the value of a label."""
    return _in_one_line(value).replace('"', r"\"")


def _in_one_line(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def number(value: float) -> str:
    if -inf < value < 1e6:
        return repr(float(value))
    written: str = floatToGoString(value)  # type: ignore[no-untyped-call]  # is untyped
    return written
