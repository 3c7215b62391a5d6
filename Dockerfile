# The service (default) and the trainer (--target trainer).
# Migrations are a command of their own: docker run ... IMAGE alembic upgrade head

FROM python:3.11-slim AS base
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

FROM base AS source
RUN python -m venv /venv
WORKDIR /src
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY contract/ contract/
COPY service/ service/
COPY training/ training/

FROM source AS build-service
RUN pip install --constraint requirements.lock '.[service]'

FROM source AS build-trainer
RUN pip install --constraint requirements.lock '.[training]'

# What both run in. One user id for both, since they share the volumes.
FROM base AS runtime
RUN useradd --uid 10001 --create-home app
WORKDIR /app
RUN install --directory --owner=app --group=app var exported_models
COPY alembic.ini ./
COPY alembic/ alembic/

FROM runtime AS trainer
COPY --from=build-trainer /venv /venv
USER app
VOLUME ["/app/var", "/app/exported_models"]
ENTRYPOINT ["python", "-m", "training"]
CMD ["--help"]

FROM runtime AS service
COPY --from=build-service /venv /venv
# Others can reach this address, so the service does not start without a key.
ENV HOST=0.0.0.0 \
    PORT=8000
USER app
VOLUME ["/app/var", "/app/exported_models"]
EXPOSE 8000
# Unhealthy until a model serves.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=4); c.request('GET', '/health/ready'); sys.exit(c.getresponse().status != 200)"]
CMD ["python", "-m", "service"]
