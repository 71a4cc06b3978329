# One image for every process of Forewarn; docker-compose.yml says which one a container runs.
FROM python:3.11.14-slim-bookworm AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN pip install --no-cache-dir uv==0.13.9
# EXTRA=spark: with PySpark and Java, for trainings past memory (docs/scaling.md)
ARG EXTRA=""
WORKDIR /app
COPY pyproject.toml requirements.lock requirements.overrides ./
# at the locked versions what Forewarn needs to run (not what its tests and benchmarks do); torch without CUDA
RUN python -m venv /opt/venv \
    && uv pip install --python /opt/venv/bin/python --no-cache --torch-backend cpu \
       --constraints requirements.lock --overrides requirements.overrides -r pyproject.toml ${EXTRA:+--extra "$EXTRA"}
COPY workspace.yaml README.md ./
COPY forewarn forewarn
COPY monitor_assets monitor_assets
COPY feature_repo feature_repo
COPY bentos bentos
COPY sensors sensors
COPY panel_app panel_app
RUN uv pip install --python /opt/venv/bin/python --no-cache --no-deps -e .

FROM python:3.11.14-slim-bookworm
ARG EXTRA=""
# libgomp: LightGBM's threads; curl: health checks. Debian drops old versions from its mirrors, so none is pinned.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 curl ${EXTRA:+openjdk-17-jre-headless} \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 forewarn \
    && useradd --uid 10001 --gid forewarn --create-home forewarn \
    && install -d -o forewarn -g forewarn /var/lib/forewarn /var/lib/forewarn/dagster
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
WORKDIR /app
USER 10001:10001
# threads and memory arenas by what a container may use, not by the processors of its host: as the embedded stack has it
ENV PATH=/opt/venv/bin:$PATH \
    FOREWARN_HOME=/var/lib/forewarn \
    FOREWARN_BIND_HOST=0.0.0.0 \
    BENTOML_HOME=/var/lib/forewarn/bentoml \
    DAGSTER_HOME=/var/lib/forewarn/dagster \
    BENTOML_DO_NOT_TRACK=True \
    MLFLOW_DISABLE_TELEMETRY=true \
    DO_NOT_TRACK=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=2 \
    OPENBLAS_NUM_THREADS=2 \
    MKL_NUM_THREADS=2 \
    NUMBA_NUM_THREADS=2 \
    MALLOC_ARENA_MAX=2 \
    NUMBA_CACHE_DIR=/var/lib/forewarn/numba
VOLUME /var/lib/forewarn
