"""What Deployments, StatefulSets and Services of some namespaces declare by annotation.

Decides which objects are looked at, and when what they say is known. What it means as an endpoint
is `config.annotations`' business, who may claim what `core.declarations`'. The workloads' watches
are the ones that the endpoints' drivers read.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from activator.core.declarations import Declaration, said
from activator.core.workloads import Workload, read_workload
from activator.kube.cluster import DEPLOYMENTS, SERVICES, STATEFUL_SETS
from activator.kube.errors import Forbidden, Missing
from activator.kube.notes import Note, Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from activator.kube.cluster import Cluster, Following, Resource
    from activator.kube.watch import Watch


class KubernetesSource:
    """Until `close`."""

    def __init__(self, cluster: Cluster, *, changed: Callable[[], None]) -> None:
        """`changed`: `declarations` or `is_known` may have."""
        self._cluster = cluster
        self._changed = changed
        self._workloads: dict[tuple[str, Resource], Following[Workload]] = {}
        self._services: dict[str, Following[Declaration]] = {}

    def follow(self, namespaces: Iterable[str]) -> None:
        """These, and no others any longer."""
        wanted = set(namespaces)
        for namespace in self._services.keys() - wanted:
            self._services.pop(namespace).close()
            for resource in (DEPLOYMENTS, STATEFUL_SETS):
                self._workloads.pop((namespace, resource)).close()
        for namespace in sorted(wanted - self._services.keys()):
            self._services[namespace] = self._cluster.follow(
                SERVICES, namespace, read=_read_service, changed=self._changed
            )
            for resource in (DEPLOYMENTS, STATEFUL_SETS):
                self._workloads[namespace, resource] = self._cluster.follow(
                    resource,
                    namespace,
                    read=read_workload,
                    changed=self._changed,
                    concerns=lambda each: bool(each.declared),
                )

    @property
    def is_known(self) -> bool:
        """Every collection has been seen, or will not be before a person has done something."""
        watches: list[Watch[Any]] = [each.watch for each in self._services.values()]
        watches += [each.watch for each in self._workloads.values()]
        return all(
            each.is_known or isinstance(each.trouble, Forbidden | Missing) for each in watches
        )

    def declarations(self) -> Iterator[Declaration]:
        """As known now, or last, however long ago: whatever changes until the last is taken."""
        services = [each for it in self._services.values() for each in it.watch.items.values()]
        workloads = [
            (namespace, resource, list(it.watch.items.values()))
            for (namespace, resource), it in self._workloads.items()
        ]
        return chain(services, _of_workloads(workloads))

    def tell(
        self, declaration: Declaration, *, reason: str, message: str, is_warning: bool
    ) -> None:
        """An event on the object; never waits."""
        it = declaration
        about = Subject(it.group_version, it.kind, it.namespace, it.name, it.uid)
        self._cluster.notes.write(Note(about, reason, message, is_warning))

    def close(self) -> None:
        self.follow(())


def _of_workloads(
    found: Iterable[tuple[str, Resource, Iterable[Workload]]],
) -> Iterator[Declaration]:
    for namespace, resource, workloads in found:
        for each in workloads:
            if each.declared:
                yield Declaration(
                    group_version=resource.group_version,
                    kind=resource.kind,
                    namespace=namespace,
                    name=each.name,
                    uid=each.uid,
                    created=each.created,
                    said=each.declared,
                )


def _read_service(raw: dict[str, Any]) -> Declaration | None:
    """None: it declares nothing, and nobody keeps it."""
    metadata = raw["metadata"]
    words = said(metadata.get("annotations") or {})
    if not words:
        return None
    return Declaration(
        group_version=SERVICES.group_version,
        kind=SERVICES.kind,
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        created=metadata.get("creationTimestamp") or "",
        said=words,
    )
