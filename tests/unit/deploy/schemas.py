"""Are these manifests what a Kubernetes API server would take? By its own schemas, field by field.

`schemas.json.gz` holds the kinds that we ship, out of Kubernetes' OpenAPI description and the
custom resources' definitions; made with

    python -m tests.unit.deploy.schemas SWAGGER CRD…

where SWAGGER is `api/openapi-spec/swagger.json` of the Go module k8s.io/kubernetes (here: v1.36.3)
and each CRD a definition's YAML (sigs.k8s.io/gateway-api v1.4.0, `config/crd/standard`, and
github.com/prometheus-operator/prometheus-operator v0.85.0, `example/prometheus-operator-crd`).
Stricter than a server: a field that is not known is an error, not a warning.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

    Json = dict[str, Any]

FILE = Path(__file__).with_name("schemas.json.gz")
KINDS = [
    "v1/Namespace",
    "v1/ServiceAccount",
    "v1/Service",
    "v1/ConfigMap",
    "v1/Secret",
    "v1/PersistentVolumeClaim",
    "apps/v1/Deployment",
    "apps/v1/StatefulSet",
    "policy/v1/PodDisruptionBudget",
    "autoscaling/v2/HorizontalPodAutoscaler",
    "networking.k8s.io/v1/NetworkPolicy",
    "networking.k8s.io/v1/Ingress",
    "rbac.authorization.k8s.io/v1/Role",
    "rbac.authorization.k8s.io/v1/RoleBinding",
    "rbac.authorization.k8s.io/v1/ClusterRole",
    "rbac.authorization.k8s.io/v1/ClusterRoleBinding",
]

_KEPT = [
    "type",
    "properties",
    "additionalProperties",
    "items",
    "required",
    "enum",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "anyOf",
    "oneOf",
    "allOf",
    "$ref",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
]
_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}
_QUANTITY = re.compile(r"[+-]?\d+(\.\d*)?([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?")


@cache
def _known() -> Json:
    known: Json = json.loads(gzip.decompress(FILE.read_bytes()))
    return known


def problems(manifest: Json) -> list[str]:
    """What is wrong with it, each with the place; empty if nothing is."""
    kind = f"{manifest.get('apiVersion')}/{manifest.get('kind')}"
    name = (manifest.get("metadata") or {}).get("name")
    if kind not in _known()["kinds"]:
        return [f"{kind} {name}: no such kind is known"]
    found = _wrong(manifest, {"$ref": _known()["kinds"][kind]}, at="")
    return [f"{kind} {name}: {each}" for each in found]


def _wrong(value: Any, schema: Json, *, at: str) -> Iterator[str]:
    if "$ref" in schema:
        name = schema["$ref"]
        if name.endswith(".Quantity"):
            if not _QUANTITY.fullmatch(str(value)):
                yield f"{at}: {value!r} is no quantity"
            return
        schema = _known()["definitions"][name]
    int_or_string = schema.get("format") == "int-or-string"
    if int_or_string or schema.get("x-kubernetes-int-or-string"):
        if isinstance(value, bool) or not isinstance(value, int | str):
            yield f"{at}: {value!r} is neither a number nor a name"
        return
    if "type" in schema and (
        not isinstance(value, _TYPES[schema["type"]])
        or (isinstance(value, bool) and schema["type"] != "boolean")
    ):
        yield f"{at}: {value!r} is no {schema['type']}"
        return
    yield from _out_of_bounds(value, schema, at=at)
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from _wrong(each, schema.get("items", {}), at=f"{at}[{index}]")
    elif isinstance(value, dict):
        yield from _wrong_fields(value, schema, at=at)


def _out_of_bounds(value: Any, schema: Json, *, at: str) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is none of {', '.join(map(str, schema['enum']))}"
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        yield f"{at}: {value!r} does not match {schema['pattern']}"
    if isinstance(value, str | list):
        suffix = "Length" if isinstance(value, str) else "Items"
        if not schema.get(f"min{suffix}", 0) <= len(value) <= schema.get(f"max{suffix}", 1e9):
            yield f"{at}: is too short or too long"
    elif isinstance(value, int | float) and not (
        schema.get("minimum", -1e18) <= value <= schema.get("maximum", 1e18)
    ):
        yield f"{at}: {value} is too little or too much"


def _wrong_fields(value: Json, schema: Json, *, at: str) -> Iterator[str]:
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{at}.{name}: is required"
    fields, others = schema.get("properties"), schema.get("additionalProperties")
    for name, each in value.items():
        if fields is not None and name in fields:
            yield from _wrong(each, fields[name], at=f"{at}.{name}")
        elif isinstance(others, dict):
            yield from _wrong(each, others, at=f"{at}.{name}")
        elif fields is not None and not schema.get("x-kubernetes-preserve-unknown-fields"):
            yield f"{at}.{name}: unknown field"


# --- making the file ----------------------------------------------------------------------------


def reduced(swagger: Json, crds: list[Json]) -> Json:
    """The kinds that we ship, and what they refer to, without descriptions."""
    kinds: dict[str, str] = {}
    for name, definition in swagger["definitions"].items():
        for gvk in definition.get("x-kubernetes-group-version-kind", ()):
            group = f"{gvk['group']}/" if gvk["group"] else ""
            kinds[f"{group}{gvk['version']}/{gvk['kind']}"] = name
    definitions: Json = {}
    for kind in KINDS:
        _collect(kinds[kind], swagger["definitions"], into=definitions)
    found = {kind: kinds[kind] for kind in KINDS}
    for crd in crds:
        spec = crd["spec"]
        for version in spec["versions"]:
            name = f"{spec['group']}/{version['name']}/{spec['names']['kind']}"
            schema = _kept(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {
                "$ref": "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
            }
            found[name], definitions[name] = name, schema
    return {"kinds": found, "definitions": definitions}


def _collect(name: str, everything: Json, *, into: Json) -> None:
    if name in into:
        return
    into[name] = _kept(everything[name])
    for other in re.findall(r'"\$ref": "([^"]+)"', json.dumps(into[name])):
        _collect(other, everything, into=into)


def _kept(schema: Any) -> Any:
    kept = {key: value for key, value in schema.items() if key in _KEPT}
    if "$ref" in kept:
        kept["$ref"] = kept["$ref"].removeprefix("#/definitions/")
    if "properties" in kept:
        kept["properties"] = {name: _kept(each) for name, each in kept["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(kept.get(key), dict):
            kept[key] = _kept(kept[key])
    for key in ("anyOf", "oneOf", "allOf"):
        kept.pop(key, None)  # they only say again what types and CEL rules say
    return kept


def main(swagger: str, *crds: str) -> None:
    made = reduced(
        json.loads(Path(swagger).read_text(encoding="utf-8")),
        [yaml.safe_load(Path(crd).read_text(encoding="utf-8")) for crd in crds],
    )
    FILE.write_bytes(gzip.compress(json.dumps(made, sort_keys=True).encode(), mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
