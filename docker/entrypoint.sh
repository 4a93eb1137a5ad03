#!/bin/sh
# howsure as the container's first process. No arguments, or options only: the server.
# The server is on every address of the container, at the port that is published; a later option overrides that.
set -eu
case "${1:-}" in
  --version) ;;
  "" | -* | serve)
    [ "${1:-}" != serve ] || shift
    set -- serve --host 0.0.0.0 --port 8000 "$@"
    ;;
esac
exec /opt/howsure/bin/howsure "$@"
