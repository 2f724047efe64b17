"""The keys of an endpoint: each with its default, its unit and the reason for both.

A table to read. What the values mean together is checked in `rules`; what becomes of them is
`build`'s business.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from activator.config.docker_schema import DockerSection
from activator.config.fields import (
    Argument,
    BlockedPath,
    Count,
    Duration,
    Environment,
    ExactPath,
    Flag,
    HeaderName,
    HeaderValue,
    HostPattern,
    Name,
    Number,
    PathPrefix,
    Port,
    PortName,
    PositiveCount,
    PositiveDuration,
    PositiveSize,
    Section,
    ServiceUrl,
    Target,
    Text,
    Upstream,
    Workload,
    checked,
    key,
    required,
    section,
)
from activator.core.endpoint import Balance, Dialect, Owner  # noqa: TC001 -- pydantic needs them


class MatchSection(Section):
    """Which requests belong to the endpoint. What is left out matches anything."""

    hosts: tuple[HostPattern, ...] = key(
        [],
        "Host names, compared without case and port: `llm.example.com`, or `*.example.com` for"
        " every name below it. Empty: any host.",
    )
    paths: tuple[PathPrefix, ...] = key(
        [],
        "Path prefixes on segment boundaries, compared percent-decoded: `/llama` matches `/llama`"
        " and `/llama/v1`, not `/llama2`. The longest one wins. Empty: any path.",
    )
    headers: dict[HeaderName, HeaderValue] = key(
        {}, "Headers that must all be there with exactly these values. More headers win over fewer."
    )
    models: tuple[Text, ...] = key(
        [],
        "Names in the body's `model` (JSON or multipart), exact or with `*`: `llama-8b`,"
        " `llama-8b-lora-*`. An exact name wins over a wildcard, the longer wildcard over the"
        " shorter. Needs `dialect: openai`. Empty: any model, or none.",
    )


class ProcessSection(Section):
    """Replicas as child processes of the activator."""

    type: Literal["process"] = required("Replicas are child processes on this machine.")
    command: tuple[Argument, ...] = required(
        "Program and arguments, run without a shell. `{port}` becomes the port that was chosen for"
        " the replica, `{host}` the address; `{port}` has to appear here or in `env`, or the"
        " replica would not be found.",
        min_length=1,
    )
    env: Environment = key(
        {},
        "Added to the activator's own environment. A value that is `${NAME}` is taken from that"
        " environment and must be set there; `{port}` and `{host}` are filled in.",
    )
    cwd: Text | None = key(
        None,
        "Working directory, relative to the directory of this file. Null: the activator's own.",
    )
    host: Text = key(
        "127.0.0.1",
        "Address at which a replica listens: nothing but the activator needs it, and other"
        " activators of the same store. If those run on other machines too, each machine's file"
        " names an address of its own here.",
    )
    stop_grace: Duration = key(
        "10s",
        "Between SIGTERM and SIGKILL for the whole process group: time to free the GPU's memory in"
        " order.",
    )


class StaticSection(Section):
    """Replicas that somebody else runs."""

    type: Literal["static"] = required("Replicas that are always there: probed, never scaled.")
    urls: tuple[Upstream, ...] = required(
        "Where they answer: `http://host:port` each, without a path.", min_length=1
    )


class KubernetesSection(Section):
    """A workload with a scale subresource; its pods are the replicas."""

    type: Literal["kubernetes"] = required("Replicas are the pods of a workload in a cluster.")
    namespace: Name = key("default", "Namespace of the workload.")
    target: Workload = required(
        "Anything with a scale subresource, as `Kind/name` or `group/version/Kind/name`:"
        " `Deployment/x`, `StatefulSet/x`, `leaderworkerset.x-k8s.io/v1/LeaderWorkerSet/x`."
    )
    port: Port | PortName = required(
        "Port of the pods, as a number or by the name that a container gives it (with `service`:"
        " by the Service's name for it)."
    )
    service: Name | None = key(
        None,
        "A Service of that namespace: its EndpointSlices say at which addresses the workload's pods"
        " are reached. Null: the pods themselves do, which is known a moment sooner.",
    )


Backend = Annotated[
    ProcessSection | StaticSection | KubernetesSection | DockerSection,
    Field(discriminator="type"),
]


class ProbeSection(Section):
    """How it is found out whether a replica answers."""

    path: Target | None = key(
        None,
        "What is asked for with GET; 2xx and 3xx mean ready. Null: a TCP connection is answer"
        " enough, which is too early for a server that listens before its model is loaded.",
    )
    interval: PositiveDuration = key(
        "50ms",
        "Between probes while a replica starts: on average half of it is added to a cold start. "
        "After 50 s it grows to a thousandth of the wait, and sooner where nobody waits, to 2s at "
        "most; many that start at once share 500 probes a second.",
    )
    ready_interval: PositiveDuration = key(
        "5s",
        "Between probes of a replica that is ready: often enough to notice a dead one that is"
        " idle, seldom enough to cost nothing.",
    )
    timeout: PositiveDuration = key(
        "1s",
        "For one answer. A hanging probe does not delay the next one.",
    )
    port: Port | None = key(None, "Port to probe. Null: the port that gets the requests.")


class ScaleSection(Section):
    """When replicas are started and stopped, and how many."""

    min: Count = key(0, "Replicas that are always kept. 0: none while there is no demand.")
    max: PositiveCount = key(1, "Replicas at most: what the GPUs of the place allow.")
    idle_timeout: Duration = key(
        "10m",
        "Without held, queued or running requests for so long, the endpoint goes to zero, counted"
        " from the end of the last response. About what a cold start may cost in waiting; 0: never"
        " to zero.",
    )
    start_timeout: PositiveDuration = key(
        "15m",
        "A replica that does not answer its probe within it has failed. Images and weights of tens"
        " of gigabytes take minutes.",
    )
    target_concurrency: Annotated[float, Field(strict=True, gt=0, le=1e6)] | None = key(
        None,
        "Requests that one replica is meant to carry at a time: demand divided by it is the number"
        " of replicas. Null: `concurrency` where that is set, otherwise 8.",
    )
    down_delay: Duration = key(
        "5m",
        "Fewer replicas only after demand has asked for fewer for so long, because starting one"
        " again is dear.",
    )
    upgrade_idle: Duration = key(
        0,
        "A tunnel (WebSocket) in which nothing moves for so long stops holding the endpoint up."
        " 0: it counts as long as it is open.",
    )
    owner: Owner = key(
        "activator",
        "Who decides between 1 and N. `external`: an autoscaler does, and the activator only does"
        " 0→1 and →0.",
    )


class QueueSection(Section):
    """The line in front of the endpoint, and its bounds."""

    max_requests: PositiveCount = key(
        1000,
        "Requests in line at most, and as many detached jobs; the next one is told `queue_full`."
        " Bounds memory.",
    )
    max_bytes: PositiveSize = key("256MiB", "Bytes of bodies in line at most. Bounds memory.")
    timeout: PositiveDuration = key(
        "20m",
        "How long a request waits at most, its start included; longer than `scale.startTimeout`,"
        " so that a slow start is not given up by those it is for.",
    )
    buffer_bytes: PositiveSize = key(
        "1MiB",
        "A larger body stays in its socket, unread, while its request waits: most prompts fit, and"
        " an upload does not fill the store.",
    )
    age: Duration = key(
        "30s",
        "Waiting for so long improves a request by one level of urgency, so that urgent ones cannot"
        " starve the rest. 0: never.",
    )
    best_urgency: Annotated[int, Field(strict=True, ge=0, le=7)] = key(
        3,
        "The most urgent level (RFC 9218: 0 first, 7 last, 3 usual) that a client may ask for"
        " without a key that allows more.",
    )


class TimeoutsSection(Section):
    """The clocks of a request that has been given to a replica. 0: no limit."""

    connect: Duration = key("2s", "For a connection to a replica: replicas are near.")
    first_byte: Duration = key(
        0,
        "From dispatch to the first byte of the answer. No limit by default: a long generation that"
        " is not streamed sends nothing until it is done.",
    )
    idle: Duration = key(
        "5m", "Between bytes of an answer that has begun: a stream that stands still is broken."
    )
    total: Duration = key(
        "1h",
        "From dispatch to the end of the answer; the only clock of one that its client does not "
        "take, for `idle` stands still meanwhile.",
    )


class AffinitySection(Section):
    """What ties requests to one replica."""

    header: HeaderName | None = key(
        None,
        "Requests with the same value of this header go to the same replica while it has a free"
        " slot (`balance: prefix_hash`: while it is not much fuller than the others): sessions find"
        " their cache again. Null: none.",
    )


class NeverWakeSection(Section):
    """A path that is answered without waking the endpoint."""

    path: ExactPath = required(
        "Exactly this path, as the replica sees it (less a stripped prefix)."
    )
    status: Annotated[int, Field(strict=True, ge=200, le=599)] = key(
        200, "Status of the answer while no replica is ready."
    )


class FallbackSection(Section):
    """Who answers while the endpoint has no replica that could: a service, or another endpoint."""

    url: ServiceUrl | None = key(
        None,
        "A service, `https://api.example.com`; the request's path follows the URL's. Its"
        " certificate is checked against the system's authorities, or those of `SSL_CERT_FILE`. It"
        " is told nothing of who asks: no credentials, cookies or addresses.",
    )
    key_file: Text | None = key(
        None,
        "File with the key for that service, sent as `Authorization: Bearer KEY`; read with this"
        " file. Null: it needs none.",
    )
    endpoint: Name | None = key(
        None,
        "Another endpoint of this file, without a fallback of its own. It answers while it has a"
        " replica with a free slot, and is not woken for it.",
    )
    model: Text | None = key(
        None,
        "With `dialect: openai`: what `model` in a body is to be there. Null: for a service as the"
        " endpoint's replicas would get it; for another endpoint what its replicas know"
        " (`upstreamModel`, or the first of its `match.models` without `*`).",
    )
    max_per_day: Count | None = key(
        None,
        "Requests a day (UTC) at most, all activators together: what it may cost. Beyond it they"
        " are held; so they are while the store is away, since nobody could count. Null: 1000 for a"
        " `url`, no limit for an `endpoint`. 0: no limit.",
    )


class Policy(Section):
    """Keys that `defaults` may give for every endpoint."""

    strip_prefix: Flag = key(
        False, "Forward the path without the prefix that matched: `/llama/v1` becomes `/v1`."
    )
    dialect: Dialect = key(
        "plain",
        "What the endpoint speaks. `plain`: HTTP. `openai`: what clients of OpenAI's API expect,"
        " beginning with the form of errors.",
    )
    probe: ProbeSection = section(ProbeSection, "How it is found out whether a replica answers.")
    scale: ScaleSection = section(
        ScaleSection, "When replicas are started and stopped, and how many."
    )
    concurrency: Count = key(
        0,
        "Requests in flight at one replica at most, over all activators. 0: no limit; the model"
        " server's own batch size is a good value.",
    )
    queue: QueueSection = section(
        QueueSection, "The line in front of the endpoint, and its bounds."
    )
    timeouts: TimeoutsSection = section(
        TimeoutsSection, "The clocks of a request that has been dispatched."
    )
    balance: Balance = key(
        "least_loaded",
        "Which replica gets a request: `least_loaded`, `first_available` (fills one before the"
        " next), `round_robin`, or `prefix_hash` (by `affinity.header`, otherwise with `dialect:"
        " openai` by how the prompt begins, with a bound on the load).",
    )
    affinity: AffinitySection = section(AffinitySection, "What ties requests to one replica.")
    heartbeat: Duration = key(
        "10s",
        "With `dialect: openai`: a request with `stream: true` that waits gets its first bytes"
        " within it, and a comment as often until the replica answers. Shorter than the shortest"
        " read timeout of clients and of proxies on the way. 0: none.",
    )
    keep_alive_whitespace: Flag = key(
        False,
        "With `dialect: openai`: white space, as often as `heartbeat`, also to clients that wait"
        " for JSON. It commits the status to 200, so that a failure is only in the body: for"
        " clients that look there.",
    )
    upstream_model: Text | None = key(
        None,
        "What `model` in a body is rewritten to, whatever it was: the only change that a body ever"
        " sees. Null: it stays as it came.",
    )
    aliases: tuple[Text, ...] = key(
        [],
        "Further names by which clients may ask for the model. A replica is given the name it"
        " knows: `upstreamModel`, or the first of `match.models` without `*`.",
    )
    fallback: FallbackSection | None = key(
        None,
        "Who answers while the endpoint has no replica that could; its start goes on meanwhile, and"
        " what the fallback does not answer is held as usual. Null: nobody.",
    )
    stall: Duration = key(
        "2m",
        "A replica with requests in flight and not one byte from it for so long gets nothing new."
        " 0: never; longer than the longest silence of a healthy model.",
    )
    block_paths: tuple[BlockedPath, ...] | None = key(
        None,
        "Paths that clients must not reach, as the replica sees them, with all below: the control"
        " paths of a model server. Null: with `dialect: openai` those by which vLLM, SGLang,"
        " llama.cpp and Ollama are operated (`/sleep`, `/pause`, `/update_weights` …), otherwise"
        " none. A list, be it empty, takes their place.",
    )
    never_wake: tuple[NeverWakeSection, ...] = checked(
        (NeverWakeSection(path="/favicon.ico", status=404),),
        "Paths that are forwarded when a replica is ready, answered as said otherwise, and never"
        " count as activity: monitors and browsers that ask for more than they want.",
        spelled=[{"path": "/favicon.ico", "status": 404}],
    )
    waiting_page: Flag = key(
        False,
        "Whether browsers that open a page see how the start goes on, instead of a spinner, until"
        " the page itself can be shown. Other clients are never sent it.",
    )
    waiting_page_template: Text | None = key(
        None,
        "File with the HTML of that page, relative to the directory of this file; its placeholders"
        " are in waiting-page.md. Null: the page that comes with the activator.",
    )
    cost_per_replica_hour: Number = key(
        0, "Money for one replica and hour, in the currency of your choice, for the cost figures."
    )


class EndpointSection(Policy):
    """One model or app that clients address."""

    name: Name = required("How logs, metrics and commands call it.")
    match: MatchSection = section(
        MatchSection, "Which requests belong to it. Nothing said: all of them."
    )
    backend: Backend = required("What its replicas are, and how they are started.")
