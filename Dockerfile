# Targets: service (the default), service-cuda, trainer, trainer-cuda; the last two words are for NVIDIA GPUs.
# The root file system may be read-only: what is written goes to the two volumes and to /tmp.
#     docker run --read-only --tmpfs /tmp --env API_KEY --publish 127.0.0.1:8000:8000 --volume ... IMAGE
# More extras, as S3's: --build-arg EXTRAS=s3
# Migrations are a command of their own: docker run ... IMAGE python -m contract.migrate

FROM python:3.11-slim AS base
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

FROM base AS source
RUN python -m venv /venv
WORKDIR /src
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY alembic/ alembic/
COPY contract/ contract/
COPY service/ service/
COPY training/ training/

# ONNX Runtime is the one of the GPU images, less the libraries by which it would ask for CUDA.
FROM source AS build-service
ARG EXTRAS=
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint requirements.lock ".[service${EXTRAS:+,$EXTRAS}]" \
    && find /venv -name 'libonnxruntime_providers_[ct]*.so' -delete

FROM source AS build-service-cuda
ARG EXTRAS=
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint requirements.lock ".[service-gpu${EXTRAS:+,$EXTRAS}]"

# PyTorch's own index has wheels without CUDA of the releases that the lock names: --build-arg TORCH_INDEX=its URL. Without it
# the image has PyTorch's CUDA libraries, which go unused.
FROM source AS build-trainer
ARG TORCH_INDEX=
ARG EXTRAS=
RUN --mount=type=cache,target=/root/.cache/pip \
    if [ -n "$TORCH_INDEX" ]; then \
        grep --extended-regexp '^torch(vision)?==' requirements.lock > torch.txt \
        && pip install --no-deps --index-url "$TORCH_INDEX" --requirement torch.txt; \
    fi \
    && pip install --constraint requirements.lock ".[training${EXTRAS:+,$EXTRAS}]" \
    && find /venv -name 'libonnxruntime_providers_[ct]*.so' -delete

FROM source AS build-trainer-cuda
ARG EXTRAS=
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint requirements.lock ".[training${EXTRAS:+,$EXTRAS}]"

# What all run in. One user id, since they share the volumes.
FROM base AS runtime
ENV PYTHONDONTWRITEBYTECODE=1
RUN useradd --uid 10001 --no-create-home --home-dir /tmp app
WORKDIR /app
RUN install --directory --owner=10001 --group=10001 var exported_models
USER 10001:10001
VOLUME ["/app/var", "/app/exported_models"]

FROM runtime AS training
ENV MPLCONFIGDIR=/tmp/matplotlib \
    TORCH_HOME=/app/var/torch
ENTRYPOINT ["python", "-m", "training"]
CMD ["--help"]

FROM training AS trainer-cuda
COPY --from=build-trainer-cuda /venv /venv
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM training AS trainer
COPY --from=build-trainer /venv /venv

FROM runtime AS serving
# Others can reach this address, so the service does not start without a key.
ENV HOST=0.0.0.0 \
    PORT=8000
EXPOSE 8000
# Unhealthy until a model serves.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=4); c.request('GET', '/health/ready'); sys.exit(c.getresponse().status != 200)"]
CMD ["python", "-m", "service"]

FROM serving AS service-cuda
COPY --from=build-service-cuda /venv /venv
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM serving AS service
COPY --from=build-service /venv /venv
