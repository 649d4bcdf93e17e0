# One Tailrace broker. BASE is any image with Python 3.11 or later and venv.
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
WORKDIR /source
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# The dependencies before the source: they change less often.
COPY requirements.lock requirements-build.lock ./
RUN python3 -m venv /opt/build && /opt/build/bin/pip install -q --require-hashes -r requirements-build.lock \
 && python3 -m venv /opt/tailrace && /opt/tailrace/bin/pip install -q --require-hashes -r requirements.lock
COPY pyproject.toml README.md ./
COPY engine engine
COPY controller controller
COPY gateway gateway
RUN /opt/build/bin/pip wheel -q --no-deps --no-build-isolation --wheel-dir /dist . \
 && /opt/tailrace/bin/pip install -q --no-deps /dist/*.whl

FROM ${BASE}
COPY --from=build /opt/tailrace /opt/tailrace
COPY config/dev/docker.toml /etc/tailrace/broker.toml
# A user of its own; a new volume takes over the folder's owner.
RUN useradd --system --uid 10001 --user-group --no-create-home tailrace \
 && install -d -o tailrace -g tailrace /var/lib/tailrace
USER tailrace
WORKDIR /var/lib/tailrace
VOLUME /var/lib/tailrace
EXPOSE 9092 29092 9644
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 CMD ["/opt/tailrace/bin/python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9644/readyz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/tailrace/bin/tailrace"]
CMD ["serve", "--config", "/etc/tailrace/broker.toml"]
