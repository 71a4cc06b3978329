# One image for every process of Forewarn; docker-compose.yml says which one a container runs.
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 curl \
    && rm -rf /var/lib/apt/lists/* \
    && pip install --no-cache-dir uv

WORKDIR /app
COPY requirements.lock ./
RUN uv pip install --system --no-cache --no-deps -r requirements.lock

COPY pyproject.toml workspace.yaml ./
COPY forewarn forewarn
COPY monitor_assets monitor_assets
COPY feature_repo feature_repo
COPY bentos bentos
COPY sensors sensors
COPY panel_app panel_app
RUN touch README.md && uv pip install --system --no-cache --no-deps -e . \
    && useradd --system --create-home forewarn \
    && install -d -o forewarn /var/lib/forewarn

USER forewarn
ENV FOREWARN_HOME=/var/lib/forewarn \
    FOREWARN_BIND_HOST=0.0.0.0 \
    BENTOML_HOME=/var/lib/forewarn/bentoml \
    DAGSTER_HOME=/var/lib/forewarn/dagster \
    BENTOML_DO_NOT_TRACK=True \
    DO_NOT_TRACK=1 \
    PYTHONUNBUFFERED=1
VOLUME /var/lib/forewarn
