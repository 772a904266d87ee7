# The server, and only the server: no torch, no compiler, no root.
#   docker build -t pupil . && docker run -p 50051:50051 -p 8080:8080 -v ./repository:/repository:ro pupil
# For a GPU, with CUDA and cuDNN inside, 2.7 GB of them:
#   docker build --build-arg LOCK=requirements-cuda.lock -t pupil-cuda .
ARG BASE=python:3.11-slim
ARG LOCK=requirements-server.lock

FROM ${BASE} AS build
ARG LOCK
WORKDIR /source
RUN python -m venv /opt/pupil
# The locked versions of what the server needs, first: they change less often than the code.
COPY ${LOCK} ./
RUN /opt/pupil/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r ${LOCK}
COPY pyproject.toml README.md ./
COPY proto proto
COPY trust trust
COPY training training
COPY export export
COPY server server
COPY clients clients
RUN /opt/pupil/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps . \
    && find /opt/pupil -name __pycache__ -prune -exec rm -r {} +

FROM ${BASE}
# The library that carries the calls: without it grpcio does, at several times the cost.
RUN apt-get update && apt-get install --yes --no-install-recommends libnghttp2-14 && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin pupil
COPY --from=build /opt/pupil /opt/pupil
ENV PATH=/opt/pupil/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PUPIL_REPOSITORY=/repository \
    PUPIL_HOST=0.0.0.0 \
    PUPIL_LOG_FORMAT=json \
    PUPIL_DRAIN_DELAY=5
USER 10001
EXPOSE 50051 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/readyz', timeout=2)"]
ENTRYPOINT ["pupil"]
CMD ["serve"]
