"""The keys of the whole file: each with its default, its unit and the reason for both.

A table to read, and the JSON Schema that editors take from it. The keys of an endpoint are in
`endpoint_schema`; what values mean together is checked in `rules`.
"""

from __future__ import annotations

from typing import Any

from activator.config.endpoint_schema import EndpointSection, Policy  # noqa: TC001 -- by pydantic
from activator.config.fields import (
    Address,
    Addresses,
    Count,
    Duration,
    Flag,
    HostPattern,
    Name,
    Network,
    PositiveCount,
    PositiveDuration,
    PositiveSize,
    Secret,
    Section,
    ServiceUrl,
    Share,
    Size,
    Text,
    key,
    required,
    section,
)


class TlsSection(Section):
    """The certificate of the data port."""

    cert_file: Text = required("Certificate chain in PEM, the server's own first.")
    key_file: Text = required("Its private key in PEM, without a passphrase.")


class LimitsSection(Section):
    """What one client may ask of the listener."""

    request_line: PositiveSize = key("16KiB", "Longest request line; beyond it: 431.")
    header_bytes: PositiveSize = key("64KiB", "All header lines together; beyond it: 431.")
    headers: PositiveCount = key(200, "Header lines; beyond it: 431.")
    head_timeout: PositiveDuration = key(
        "15s", "For a whole head: slow clients must not hold connections."
    )
    body_idle: PositiveDuration = key("60s", "Between bytes of a request's body.")
    keep_alive: Duration = key(
        "75s",
        "A connection rests so long between requests, longer than the 60 s of common load balancers"
        " so that they close first. 0: closed after each answer.",
    )
    connections: Count = key(
        0, "Open connections of clients. 0: as many as the system's limit on files allows."
    )


class ServerSection(Section):
    """Where the activator listens, and how it ends."""

    listen: Addresses = key(
        "0.0.0.0:8080",
        "Data port, host:port, or a list of several. Port 0 takes any free one.",
    )
    admin: Address = key(
        "127.0.0.1:9090",
        "Admin API and metrics, host:port. Beyond loopback `auth.adminTokenFile` is required.",
    )
    drain_delay: Duration = key(
        "5s",
        "After SIGTERM readiness fails but connections are still accepted for so long: load"
        " balancers need the time to notice.",
    )
    shutdown_grace: Duration = key(
        "10m", "Then requests in flight may finish for so long: as long as a generation takes."
    )
    held_memory: Size = key(
        "64MiB",
        "Bodies of requests that wait for a slot at a ready replica may take so much memory.",
    )
    trusted_proxies: tuple[Network, ...] = key(
        [],
        "Addresses and networks whose X-Forwarded-* are believed. Nobody's by default: anybody can"
        " send them.",
    )
    tls: TlsSection | None = key(
        None,
        "Serve TLS on the data port; files are read again when they change. Null: plain HTTP.",
    )
    limits: LimitsSection = section(LimitsSection, "What one client may ask of the listener.")


class StoreSection(Section):
    """Where held requests wait, and what several activators share."""

    url: Text = key(
        "memory://",
        "`memory://` keeps everything in this process. Several activators share a Redis:"
        " `redis://HOST:PORT/DB`, `rediss://…` with TLS, `redis+sentinel://HOST:PORT,HOST:PORT/NAME`"
        " or `redis+cluster://HOST:PORT,HOST:PORT`. In Kubernetes without a Redis, several stand"
        " ready with `memory+lease://NAME` or `memory+lease://NAMESPACE/NAME`, and whoever holds"
        " this Lease serves, as with `memory://`. An address with a password is written `${NAME}`"
        " or `file:PATH`.",
    )
    prefix: Text = key(
        "activator",
        "Begins every key in the store: several may share one. Activators with the same prefix work"
        " together.",
    )
    max_bytes: PositiveSize = key("4GiB", "Bodies and results of all endpoints together.")
    timeout: PositiveDuration = key(
        "500ms", "For one operation on the way of a request: the store is near."
    )


class AuthSection(Section):
    """Who may come in."""

    api_keys_file: Text | None = key(
        None,
        "File of the clients' keys, a line each: `name:sha256[:endpoint,endpoint…][:urgency]`. Read"
        " again when it changes. Null: the data port is open.",
    )
    admin_token_file: Text | None = key(
        None,
        "File with the token of the admin port. Required when that listens beyond loopback.",
    )


class JobsSection(Section):
    """Requests that outlive their connection: detached ones, and those with an idempotency key."""

    max_body: PositiveSize = key(
        "64MiB", "Largest body of a job; beyond it: 413. It is stored whole before it is answered."
    )
    max_result: PositiveSize = key(
        "256MiB", "Largest answer that is kept; a job whose answer is larger fails."
    )
    ttl: PositiveDuration = key(
        "24h", "A job that has not begun after so long has expired: a night without GPUs may pass."
    )
    retention: PositiveDuration = key(
        "24h",
        "A job and its result are kept for so long after its end, then its address answers 410.",
    )
    attempts: PositiveCount = key(
        3,
        "A job is tried so often before it has failed. What failed stays until `retention` is over,"
        " and can be retried by hand.",
    )
    join_grace: Duration = key(
        "60s",
        "A keyed request whose clients have all left runs on for so long, so that a retry finds it."
        " 0: it is cancelled at once.",
    )


class WebhooksSection(Section):
    """Who may be told when a detached job has ended (`X-Activator-Webhook`)."""

    allow: tuple[HostPattern, ...] = key(
        [], "Hosts that may be called, or `*.` and a domain. Empty: nobody is."
    )
    secret: Secret | None = key(
        None,
        "Signs the calls (Standard Webhooks): `${NAME}` or `file:PATH`, of `whsec_` and base64, or"
        " any text. Needed with `allow`.",
    )
    private_addresses: Flag = key(
        False,
        "Whether addresses may be called that are not on the public internet. A client could"
        " reach with it what only the activator can.",
    )


class AllowSection(Section):
    """What the annotated objects of a namespace may claim. Nothing, unless it is said here."""

    hosts: tuple[HostPattern, ...] = key(
        [],
        "Hosts, `*.` and a domain for every name below it, or `*` for all: what an endpoint that"
        " names no host needs.",
    )
    models: tuple[Text, ...] = key(
        [],
        "Models and aliases, with one `*` at most. An endpoint that names no model takes whatever"
        " model is asked for at its hosts, and needs `*`.",
    )


class KubernetesSourceSection(Section):
    """Endpoints declared by annotations of Deployments, StatefulSets and Services."""

    namespaces: tuple[Name, ...] = required("Namespaces that are watched.", min_length=1)
    allow: dict[str, AllowSection] = key(
        {}, "What the annotated objects of each of them may claim, by its name."
    )


class SourcesSection(Section):
    """Where endpoints are declared besides this file, which wins over all others."""

    kubernetes: KubernetesSourceSection | None = key(
        None,
        'Deployments, StatefulSets and Services with the annotation `activator.dev/enabled: "true"`'
        " become endpoints. Null: none do.",
    )


class TracingSection(Section):
    """Where traces go (OpenTelemetry). Needs a package more: `activator[tracing]`."""

    endpoint: ServiceUrl = required(
        "The collector's address for OTLP over HTTP, `http://otel:4318`; `/v1/traces` is added."
    )
    sample: Share = key(
        0.1,
        "Share of the requests that are traced, 0 to 1. Where a caller has decided"
        " (`traceparent`), its decision holds.",
    )


class OpenAISection(Section):
    """How endpoints are found by the model that a request's body asks for."""

    default_model: Text | None = key(
        None, "The model of requests that name none. Null: they match no endpoint that names some."
    )
    peek_bytes: PositiveSize = key(
        "32MiB",
        "A body is read up to so many bytes to find its model; beyond 1 MiB it waits in a temporary"
        " file meanwhile. Prompts with images are some MiB.",
    )


class RootKeys(Section):
    """Everything but the endpoints."""

    server: ServerSection = section(ServerSection, "Where the activator listens, and how it ends.")
    store: StoreSection = section(
        StoreSection, "Where held requests wait, and what several activators share."
    )
    auth: AuthSection = section(AuthSection, "Who may come in.")
    jobs: JobsSection = section(JobsSection, "Requests that outlive their connection.")
    webhooks: WebhooksSection = section(WebhooksSection, "Who is told when a job is done.")
    sources: SourcesSection = section(
        SourcesSection, "Where endpoints are declared besides this file."
    )
    tracing: TracingSection | None = key(None, "Where traces go. Null: there are none.")
    openai: OpenAISection = section(
        OpenAISection, "How endpoints are found by the model that a request's body asks for."
    )


class Document(RootKeys):
    """The configuration of the activator."""

    defaults: Policy = key(
        {}, "Any key of an endpoint but `name`, `match` and `backend`, for all of them."
    )
    endpoints: tuple[EndpointSection, ...] = required("What clients address.")


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the file, for editors (`yaml-language-server`) and CI."""
    schema = Document.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema
