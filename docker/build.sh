#!/usr/bin/env bash
# Builds the image with docker, podman or buildah, and with the pip settings of this machine.
#   docker/build.sh [IMAGE [ENGINE ARGUMENT…]]      default image: howsure:cpu, or howsure:gpu by VARIANT
# From the environment: ENGINE, BASE_IMAGE, TORCH_INDEX, VARIANT (cpu or gpu).
set -euo pipefail
cd "$(dirname "$0")/.."
. docker/engine.sh

image=${1:-howsure:${VARIANT:-cpu}}
[[ $# -eq 0 ]] || shift
args=(--file Dockerfile --tag "$image" --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || true)"
  --build-arg "VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)")
for name in BASE_IMAGE TORCH_INDEX VARIANT; do
  [[ -z ${!name:-} ]] || args+=(--build-arg "$name=${!name}")
done

# What pip is told here, by file or by PIP_* variable, it is told in the build, in a file that no layer keeps. Wheel
# folders, file indexes and certificates are mounted, except by docker, which cannot at build time: they are left out.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip config list | python3 -c '
import ast, os, re, sys

settings, mounts = {}, set()
for line in sys.stdin:
    key, value = line.rstrip("\n").split("=", 1)
    section, option = key.rsplit(".", 1)
    if section in ("global", "install", ":env:"):
        settings[option] = ast.literal_eval(value).split()
print("[global]")
for option, words in settings.items():
    paths = {word: word.removeprefix("file://") for word in words if re.match("(file://)?/", word)}
    if sys.argv[1] == "docker":
        words = [word for word in words if word not in paths]
    else:
        # An index links to files beside it, not below it.
        mounts.update(os.path.dirname(path) if "index" in option else path for path in paths.values())
    if words:
        print(option, "=", *words)
with open(sys.argv[2], "w") as file:
    file.writelines(path + "\n" for path in sorted(mounts) if os.path.exists(path))' "$ENGINE" "$work/mounts" >"$work/pip.conf"
args+=(--secret "id=pip,src=$work/pip.conf")
[[ $ENGINE == docker ]] || args+=(--format docker) # the OCI format has no health check
while read -r path; do args+=(--volume "$path:$path:ro"); done <"$work/mounts"

"$ENGINE" build "${args[@]}" "$@" .
