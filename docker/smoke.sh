#!/usr/bin/env bash
# Builds the image, runs it as in production, scores one photograph over HTTP and stops it.
#   docker/smoke.sh [PHOTO]       default: the cat that scikit-image ships, if the python3 here has it
# From the environment: what build.sh reads; IMAGE; SKIP_BUILD=1 takes IMAGE as it is; PORT on loopback; READY_S, how
# many seconds the server has to become ready; PYTHON.
set -euo pipefail
cd "$(dirname "$0")/.."
. docker/engine.sh

image=${IMAGE:-howsure:${VARIANT:-cpu}}
port=${PORT:-18000}
python=${PYTHON:-$([[ -x .venv/bin/python ]] && echo .venv/bin/python || echo python3)}
url=http://127.0.0.1:$port
key=smoke-$RANDOM$RANDOM
hash=$(printf %s "$key" | sha256sum)
work=$(mktemp -d)
container=
run= # the engine's process: its exit status is the server's

start() {
  local options=(--env "HOWSURE_API_KEYS=smoke:score:${hash%% *}")
  if [[ $ENGINE == buildah ]]; then
    # It cannot make the root read-only, but nothing there belongs to the user. The network is that of the host.
    container=$(buildah from "$image")
    buildah run "${options[@]}" --user 10001:10001 "$container" -- \
      /opt/howsure/bin/howsure-entrypoint serve --host 0.0.0.0 --port "$port" >"$work/log" 2>&1 &
  else
    container=howsure-smoke-$$
    options+=(--name "$container" --publish "127.0.0.1:$port:8000" --read-only --tmpfs /tmp)
    options+=(--cap-drop ALL --security-opt no-new-privileges)
    "$ENGINE" run "${options[@]}" "$image" >"$work/log" 2>&1 &
  fi
  run=$!
}

terminate() {
  if [[ $ENGINE == buildah ]]; then
    # buildah kills what it runs when it gets the signal itself, so the signal goes to the server below it.
    local pid=$run
    until [[ $(readlink "/proc/$pid/exe") == */python* ]]; do pid=$(pgrep -o -P "$pid"); done
    kill -TERM "$pid"
  else
    "$ENGINE" kill --signal TERM "$container" >/dev/null
  fi
}

cleanup() {
  if [[ -n $run ]] && kill -0 "$run" 2>/dev/null; then
    terminate || kill "$run" || true
    wait "$run" || true
  fi
  if [[ $ENGINE == buildah ]]; then [[ -z $container ]] || buildah rm "$container"
  else "$ENGINE" rm --force --volumes "$container"
  fi >/dev/null 2>&1 || true
  rm -rf "$work"
}

fail() {
  echo "smoke: FAILED: $*" >&2
  [[ ! -s $work/log ]] || tail -n 40 "$work/log" >&2
  exit 1
}

trap cleanup EXIT
if [[ -n ${1:-} ]]; then cp "$1" "$work/photo"
else
  "$python" -c 'import sys, skimage; print(skimage.__path__[0] + "/data/chelsea.png")' 2>/dev/null |
    xargs -I{} cp {} "$work/photo" || fail "no scikit-image for $python: give a photograph"
fi
! curl -s -o /dev/null "$url/livez" || fail "port $port is taken: set PORT"
[[ -n ${SKIP_BUILD:-} ]] || docker/build.sh "$image"

began=$SECONDS
start
until curl -sf -o /dev/null "$url/readyz"; do
  kill -0 "$run" 2>/dev/null || fail "the server ended before it was ready"
  ((SECONDS - began < ${READY_S:-300})) || fail "not ready after $((SECONDS - began)) s"
  sleep 1
done
ready=$((SECONDS - began))

code=$(curl -s -o /dev/null -w '%{http_code}' -F "files=@$work/photo;type=image/png" "$url/v1/images/score") || true
[[ $code == 401 ]] || fail "without a key the answer was $code, not 401"
curl -sS --fail-with-body -H "Authorization: Bearer $key" -F "files=@$work/photo;filename=photo" \
  "$url/v1/images/score" >"$work/reply" || fail "no score: $(cat "$work/reply")"
summary=$("$python" -c '
import json, sys
item = json.load(open(sys.argv[1]))["data"][0]
scores = ", ".join(item["uncertainty"])
assert 0 <= item["confidence"] <= 1 and scores
label, confidence = item["label"], item["confidence"]
print(f"{label} {confidence:.3f} ({scores})")' "$work/reply") || fail "unexpected reply: $(cat "$work/reply")"

terminate
status=0
wait "$run" || status=$?
run=
[[ $status -eq 0 ]] || fail "exit status $status after SIGTERM"
echo "smoke: ok: $ENGINE $image: ready in $ready s, $summary, exit status 0 on SIGTERM"
