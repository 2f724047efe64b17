"""A Service's EndpointSlices: under which address and port each of its pods is reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

SERVICE: Final = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True)
class SliceEndpoint:
    pod: str
    """The pod's uid."""
    address: str
    is_terminating: bool = False


@dataclass(frozen=True, slots=True)
class Slice:
    service: str
    ports: tuple[tuple[str, int], ...] = ()
    """(name, number)."""
    endpoints: tuple[SliceEndpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class SliceAddress:
    host: str
    port: int
    is_terminating: bool


def read_slice(raw: dict[str, Any]) -> Slice | None:
    """From `discovery.k8s.io/v1.EndpointSlice`; None: of host names, which nobody resolves here."""
    service = (raw["metadata"].get("labels") or {}).get(SERVICE, "")
    if raw.get("addressType") == "FQDN" or not service:
        return None
    return Slice(
        service=service,
        ports=tuple(
            (each.get("name") or "", each["port"])
            for each in raw.get("ports") or ()
            if each.get("port")
        ),
        endpoints=tuple(
            SliceEndpoint(
                pod=each["targetRef"].get("uid") or "",
                address=each["addresses"][0],
                is_terminating=bool((each.get("conditions") or {}).get("terminating")),
            )
            for each in raw.get("endpoints") or ()
            if (each.get("targetRef") or {}).get("kind") == "Pod" and each.get("addresses")
        ),
    )


def addresses(
    slices: Iterable[Slice], *, service: str, port: int | str, preferred: Iterable[str] = ()
) -> dict[str, SliceAddress]:
    """By pod uid. `port`: the number, or the Service's name for it; where a pod has an address of
    each family, one of those `preferred` is taken."""
    wanted, found = frozenset(preferred), dict[str, SliceAddress]()
    for each in slices:
        number = _number(each, port)
        if each.service != service or not number:
            continue
        for endpoint in each.endpoints:
            if endpoint.pod not in found or endpoint.address in wanted:
                told = SliceAddress(endpoint.address, number, endpoint.is_terminating)
                found[endpoint.pod] = told
    return found


def _number(told: Slice, port: int | str) -> int:
    return next((number for name, number in told.ports if port in (name, number)), 0)
