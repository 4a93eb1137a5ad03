#!/usr/bin/env bash
# Pins what Docker, CI and the Makefile install: resolves pyproject.toml in an empty environment and writes
# requirements.lock (to run howsure) and requirements-dev.lock (what its checks, tests and benchmarks add).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/venv"
pip=("$work/venv/bin/python" -m pip --disable-pip-version-check)
# CUDA wheels exist for Linux on x86_64 only; elsewhere the same torch release comes without them.
mark() { sed -E '/^(nvidia-|cuda-|triton)/s/$/ ; sys_platform == "linux" and platform_machine == "x86_64"/'; }
# shellcheck disable=SC2016 # the backticks are Markdown's
header='# Written by `make lock`.'
freeze() { "${pip[@]}" freeze --all --exclude pip --exclude howsure | grep -v ' @ ' | LC_ALL=C sort -f; }

"${pip[@]}" install --quiet . setuptools
freeze | mark > "$work/run"
"${pip[@]}" install --quiet '.[dev,bench]'
freeze | mark > "$work/all"
{ echo "$header"; cat "$work/run"; } > requirements.lock
{ echo "$header"; comm -13 <(LC_ALL=C sort "$work/run") <(LC_ALL=C sort "$work/all"); } > requirements-dev.lock
