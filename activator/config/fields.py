"""The kinds of value a key can have, each with its check and its words for an editor.

Decides what one value may look like on its own. Which keys there are is `schema`'s business,
what values mean together `rules`'.
"""

from __future__ import annotations

import re
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Final, Self, TypeVar, cast
from urllib.parse import quote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ModelWrapValidatorHandler,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel

from activator.config.units import (
    DURATION_PATTERN,
    SIZE_PATTERN,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)
from activator.core.targets import normal_host, normal_path

KIND: Final = "x-activator-kind"
"""What a value is called in the documentation where JSON Schema has no short word for it."""
RESERVED_PATH: Final = "/.activator"

MASK: Final = "********"

KNOWN_KINDS: Final = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "ReplicaSet": "apps/v1",
    "LeaderWorkerSet": "leaderworkerset.x-k8s.io/v1",
}
"""Kinds of workloads that may be named without their group and version."""
_KIND = re.compile(r"[A-Z][A-Za-z0-9]*")
_PORT_NAME = re.compile(r"(?=.{1,15}$)[a-z0-9]+(-[a-z0-9]+)*")
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|KEY|CREDENTIAL|AUTH", re.IGNORECASE)
ENDPOINT_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}|file:.+")
_URL_SAFE = "".join(chr(code) for code in range(0x21, 0x7F))


_S = TypeVar("_S", bound="Section")


class Section(BaseModel):
    """A mapping in the file: camelCase keys, no others, and `null` means the default."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        field_title_generator=lambda name, _: to_camel(name),
        validate_default=True,
    )

    @model_validator(mode="wrap")
    @classmethod
    def _null_means_default(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(data, dict):
            return handler(data)
        said = data
        if None in data.values():
            known = _keys_of(cls)
            said = {key: it for key, it in data.items() if it is not None or key not in known}
        return handler(said) if said else _default(cls, handler)


@cache
def _keys_of(section: type[Section]) -> frozenset[str | None]:
    return frozenset(field.alias for field in section.model_fields.values())


_DEFAULTS: Final[dict[type[Section], Section]] = {}


def _default(section: type[_S], handler: ModelWrapValidatorHandler[_S]) -> _S:
    """One for all in which nothing is said: of thousands of endpoints hardly any says something in
    each of its sections. Raises ValidationError where something must be said."""
    found = _DEFAULTS.get(section)
    if found is None:
        found = _DEFAULTS[section] = handler({})
    return cast("_S", found)


def key(default: Any, why: str, **bounds: Any) -> Any:
    """A key with its default as the file would spell it, and its unit and reason."""
    if isinstance(default, dict):
        default = _FixedTable(default)
    elif isinstance(default, list):
        default = _FixedItems(default)
    return Field(default=default, description=why, **bounds)


def section(kind: type[Section], why: str) -> Any:
    """A key that holds a section in which nothing must be said."""
    return checked(kind.model_validate({}), why, spelled={})


def checked(default: Any, why: str, *, spelled: Any) -> Any:
    """A key whose default is one for all, and has been checked already: not again for each endpoint
    that does not mention it, of thousands. `spelled`: as the file would."""
    return Field(
        default=default,
        description=why,
        validate_default=False,
        json_schema_extra={"default": spelled},
    )


class _FixedTable(dict[str, Any]):
    """pydantic copies a default, deeply, for whoever gets it, unless it can be hashed. Nobody
    changes these, and thousands of endpoints get them."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # which a dict has none of

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return handler(dict[str, Any])


class _FixedItems(list[Any]):
    __hash__ = object.__hash__  # type: ignore[assignment]  # as above

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return handler(list[Any])


def required(why: str, **bounds: Any) -> Any:
    return Field(description=why, **bounds)


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError("must be more than 0")
    return value


def _name(value: str) -> str:
    if len(value) > 63 or not ENDPOINT_NAME.fullmatch(value):
        raise ValueError(
            "a name is 1 to 63 lower-case letters, digits, `-` and `.`,"
            " and begins and ends with a letter or digit"
        )
    return value


def _host_pattern(value: str) -> str:
    bare = value[2:] if value.startswith("*.") else value
    if value == "*":
        return value
    if "*" in bare:
        raise ValueError("a `*` can only be the whole first label, as in `*.example.com`")
    try:
        host = normal_host(bare.encode("ascii"))
    except UnicodeEncodeError:
        raise ValueError("write a host in its ASCII form (`xn--…`)") from None
    if not host:
        raise ValueError("a host cannot be empty")
    if ":" in bare and not bare.startswith("["):
        raise ValueError("hosts are matched without their port; leave it out")
    return "*." + host if bare is not value else host


def _path(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError("a path begins with `/`")
    if "?" in value:
        raise ValueError("a path has no query here")
    return normal_path(quote(value, safe=_URL_SAFE))


def _target(value: str) -> str:
    if not value.startswith("/") or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must begin with `/` and have only what a request target may have")
    return value


def _prefix(value: str) -> str:
    path = _path(value).rstrip("/") or "/"
    if path == RESERVED_PATH or path.startswith(RESERVED_PATH + "/"):
        raise ValueError(f"`{RESERVED_PATH}/` is reserved on every host")
    return path


def _blockable(value: str) -> str:
    path = _path(value).rstrip("/")
    if not path:
        raise ValueError("blocking `/` would block everything")
    return path


def _header_name(value: str) -> str:
    if not _TOKEN.fullmatch(value):
        raise ValueError(f"{value!r} is not a header's name")
    return value.lower()


def _header_value(value: str) -> str:
    if not value.isprintable() or not value.isascii() or value != value.strip():
        raise ValueError("a header's value is printable ASCII without spaces around it")
    return value


def parse_address(value: object) -> tuple[str, int]:
    """(host, port) of `host:port`, `[v6]:port`, `:port`, `*:port` or a port; port 0: any free one.

    Raises ValueError. Host and `*` may be left out for all interfaces.
    """
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not port.isascii() or len(port) > 5 or int(port) > 65535:
        raise ValueError("an address is written host:port, like 127.0.0.1:8080 or [::1]:8080")
    if host in ("", "*"):
        return "0.0.0.0", int(port)
    plain = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in plain and plain is host:
        raise ValueError("an IPv6 address is written in brackets, like [::1]:8080")
    normal_host(host.encode("ascii", "replace"))
    return plain, int(port)


def format_address(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, (str, int)) else value


def parse_upstream(value: object) -> tuple[str, int]:
    """(host, port) of `http://host[:port]`. Raises ValueError for whatever else a URL can hold."""
    if not isinstance(value, str):
        raise ValueError("must be a URL like http://10.0.0.7:8000")
    url = urlsplit(value)
    if url.scheme == "https":
        raise ValueError("https towards replicas is not supported yet; use http://")
    if url.scheme != "http" or not url.hostname:
        raise ValueError("must be a URL like http://10.0.0.7:8000")
    if url.path not in ("", "/") or url.query or url.fragment or "@" in url.netloc:
        raise ValueError("only http://host:port; paths belong to `match.paths` and `stripPrefix`")
    normal_host(url.netloc.encode("ascii", "replace"))
    if url.port == 0:
        raise ValueError("nothing can be reached at port 0")
    return url.hostname, url.port or 80


def parse_service(value: str) -> tuple[str, int, bool, str]:
    """(host, port, whether over TLS, path without a slash at its end) of a URL. Raises
    ValueError."""
    url = urlsplit(value)
    if url.scheme not in ("https", "http") or not url.hostname:
        raise ValueError("must be a URL like https://api.example.com")
    if url.query or url.fragment or "@" in url.netloc:
        raise ValueError("has only a host and a path; a key belongs into `keyFile`")
    if not url.path.isascii() or not url.path.isprintable() or " " in url.path:
        raise ValueError("must have only what a request target may have")
    normal_host(url.netloc.encode("ascii", "replace"))
    if url.port == 0:
        raise ValueError("nothing can be reached at port 0")
    tls = url.scheme == "https"
    return url.hostname, url.port or (443 if tls else 80), tls, url.path.rstrip("/")


def _service(value: str) -> str:
    parse_service(value)
    return value


def _network(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be an address or a network like 10.0.0.0/8")
    return ip_network(value)


def _text_of_number(value: object) -> object:
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def masked_environment(env: dict[str, str]) -> dict[str, str]:
    """References are shown as they are; a value that looks like a secret by its name is not."""
    return {
        name: MASK if _SECRET_NAME.search(name) and not _REFERENCE.fullmatch(value) else value
        for name, value in env.items()
    }


def _workload(value: str) -> str:
    """`Kind/name`, or `group/version/Kind/name`."""
    parse_workload(value)
    return value


def parse_workload(value: str) -> tuple[str, str, str]:
    """(group and version, kind, name). Raises ValueError."""
    *group_version, kind, name = ("", "", *value.split("/"))
    given = [part for part in group_version if part]
    known = KNOWN_KINDS.get(kind)
    if not _KIND.fullmatch(kind) or not ENDPOINT_NAME.fullmatch(name) or len(name) > 253:
        raise ValueError(
            "must be `Kind/name` or `group/version/Kind/name`, such as `Deployment/llama`"
        )
    if not given and known is None:
        raise ValueError(
            f"`{kind}` needs its group and version before it (`group/version/{kind}/{name}`); only"
            f" {', '.join(KNOWN_KINDS)} are known without"
        )
    if len(given) not in (0, 2) or len(group_version) - len(given) != 2:
        raise ValueError("must name group and version: `group/version/Kind/name`")
    return "/".join(given) or str(known), kind, name


def _port_name(value: str) -> str:
    if not _PORT_NAME.fullmatch(value) or not any(char.isalpha() for char in value):
        raise ValueError("must be a number, or a port's name: at most 15 of a-z, 0-9 and `-`")
    return value


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("cannot hold a NUL character")
    return value


def _argument(value: object) -> object:
    return _without_nul(value) if isinstance(value, str) else _text_of_number(value)


def _reference(value: str) -> str:
    if not _REFERENCE.fullmatch(value):
        raise ValueError("a secret is never written here: use ${NAME} or file:PATH")
    return value


def _either(kind: str, *options: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": list(options), KIND: kind}


_PORT = {"type": "integer", "minimum": 0, "maximum": 65535}
_NUMBER_OF = {"type": "number", "minimum": 0}
_DURATION = _either("duration", _NUMBER_OF, {"type": "string", "pattern": DURATION_PATTERN})
_SIZE = _either("size", _NUMBER_OF, {"type": "string", "pattern": SIZE_PATTERN})
_ADDRESS = _either("address", {"type": "string"}, _PORT)
_LIST = {"type": "array", "items": _ADDRESS, "minItems": 1}
_ADDRESSES = _either("address or list of them", {"type": "string"}, _PORT, _LIST)

Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(_DURATION),
]
PositiveDuration = Annotated[Duration, AfterValidator(_positive), WithJsonSchema(_DURATION)]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size, return_type=str),
    WithJsonSchema(_SIZE),
]
PositiveSize = Annotated[Size, AfterValidator(_positive), WithJsonSchema(_SIZE)]
Count = Annotated[int, Field(strict=True, ge=0, le=10_000_000)]
PositiveCount = Annotated[int, Field(strict=True, ge=1, le=10_000_000)]
Number = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Flag = Annotated[bool, Field(strict=True)]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Text = Annotated[str, Field(min_length=1), AfterValidator(_without_nul)]
Argument = Annotated[str, BeforeValidator(_argument)]
Environment = Annotated[
    dict[str, Argument], PlainSerializer(masked_environment, return_type=dict[str, str])
]
Name = Annotated[
    str, AfterValidator(_name), Field(json_schema_extra={"pattern": ENDPOINT_NAME.pattern})
]
Workload = Annotated[str, AfterValidator(_workload)]
PortName = Annotated[str, AfterValidator(_port_name)]
HostPattern = Annotated[str, AfterValidator(_host_pattern)]
ExactPath = Annotated[str, AfterValidator(_path)]
Target = Annotated[str, AfterValidator(_target)]
PathPrefix = Annotated[str, AfterValidator(_prefix)]
BlockedPath = Annotated[str, AfterValidator(_blockable)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[str, AfterValidator(_header_value)]
Address = Annotated[
    tuple[str, int],
    BeforeValidator(parse_address),
    PlainSerializer(format_address, return_type=str),
    WithJsonSchema(_ADDRESS),
]
Addresses = Annotated[
    tuple[Address, ...],
    BeforeValidator(_one_or_more),
    Field(min_length=1),
    WithJsonSchema(_ADDRESSES),
]
Upstream = Annotated[
    tuple[str, int],
    BeforeValidator(parse_upstream),
    PlainSerializer(lambda it: "http://" + format_address(it), return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^http://"}),
]
ServiceUrl = Annotated[
    str, AfterValidator(_service), Field(json_schema_extra={"pattern": "^https?://"})
]
Network = Annotated[
    IPv4Network | IPv6Network,
    BeforeValidator(_network),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string"}),
]
Secret = Annotated[str, AfterValidator(_reference)]
