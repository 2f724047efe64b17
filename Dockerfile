# syntax is the plain one: any builder, BuildKit or not, builds it.
#
#   docker build -t activator .
#   docker run -p 8080:8080 -v ./activator.yaml:/etc/activator/activator.yaml:ro activator
#
# The base is pinned to an exact version, so that a build today and one in a year differ in nothing but
# Debian's security updates. To pin it to the byte as well, take the digest of that tag once,
#   docker buildx imagetools inspect python:3.13.9-slim-bookworm --format '{{.Manifest.Digest}}'
# and build with --build-arg PYTHON=python:3.13.9-slim-bookworm@sha256:…
ARG PYTHON=python:3.13.9-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /src
RUN python -m venv /opt/activator
# the dependencies first: they change less often than the code, and the layer is kept. For indexes of
# one's own: --build-arg PIP_INDEX_URL=…
ARG PIP_INDEX_URL
COPY pyproject.toml README.md LICENSE ./
COPY activator/__init__.py activator/
RUN /opt/activator/bin/pip install --no-cache-dir --no-compile '.[redis,kubernetes,tracing]' \
 && /opt/activator/bin/pip uninstall --yes activator
COPY activator activator
RUN /opt/activator/bin/pip install --no-cache-dir --no-compile --no-deps . \
 && /opt/activator/bin/pip uninstall --yes pip \
 && find /opt/activator -name tests -path '*/site-packages/*' -type d -prune -exec rm -rf {} + \
 && /opt/activator/bin/python -m compileall -q /opt/activator/lib

FROM ${PYTHON}
LABEL org.opencontainers.image.title="activator" \
      org.opencontainers.image.description="Scale GPU model servers to zero and back without losing a request" \
      org.opencontainers.image.licenses="Apache-2.0"
# numbers, so that Kubernetes can see that it is not root
RUN groupadd --gid 10001 activator \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin activator
COPY --from=build /opt/activator /opt/activator
ENV PATH=/opt/activator/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 8080 9090
# There is no curl in it, and nothing else that an intruder would want either. readyz fails while it
# drains, too, which is what a balancer should see.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9090/readyz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["activator"]
CMD ["serve", "-c", "/etc/activator/activator.yaml", "--log-format", "json"]
