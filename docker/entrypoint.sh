#!/bin/sh
# howsure as the container's first process. No arguments, or options only: the server.
set -eu
case "${1:-}" in
  "" | -*) set -- serve --host 0.0.0.0 --port 8000 "$@" ;;
esac
exec /opt/howsure/bin/howsure "$@"
