# Sourced by the scripts beside it. Sets ENGINE to docker, podman or buildah: the first that answers, unless given.
# shellcheck shell=bash

if [[ -z ${ENGINE:-} ]]; then
  if docker info >/dev/null 2>&1; then ENGINE=docker
  elif podman info >/dev/null 2>&1; then ENGINE=podman
  elif command -v buildah >/dev/null; then ENGINE=buildah
  else echo "no container engine: install docker, podman or buildah, or set ENGINE" >&2; exit 1
  fi
fi
# chroot isolation needs no namespaces, so a build runs inside another container too.
export BUILDAH_ISOLATION="${BUILDAH_ISOLATION:-chroot}"
