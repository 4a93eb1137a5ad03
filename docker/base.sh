#!/usr/bin/env bash
# Makes a base image with Python out of a Debian mirror, for machines that cannot reach a container registry.
#   docker/base.sh [IMAGE]        default image: localhost/howsure-base
# Needs root and debootstrap. The mirror is the one this machine's apt uses; SUITE and MIRROR override.
set -euo pipefail
cd "$(dirname "$0")/.."
. docker/engine.sh

image=${1:-localhost/howsure-base}
suite=${SUITE:-bookworm}

# The Debian sources of apt that belong to this suite, updates and security too.
# shellcheck disable=SC2016 # the dollars are apt's
sources=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
  awk -v s="$suite" '$1 == "Debian" && ($3 == s || index($3, s "-") == 1) && $4 == "main" { print "deb", $2, $3, $4 }' | sort -u)
mirror=${MIRROR:-$(awk -v s="$suite" '$3 == s { print $2; exit }' <<<"$sources")}
[[ -n $mirror ]] || { echo "apt has no Debian source for $suite (or no lists: apt-get update); set MIRROR" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$suite" "$root" "$mirror"

# debootstrap knows the release only, not its security updates.
if [[ -n $sources ]]; then
  echo "$sources" >"$root/etc/apt/sources.list"
  eval "$(apt-config shell proxy Acquire::http::Proxy)"
  chroot "$root" env DEBIAN_FRONTEND=noninteractive ${proxy:+http_proxy="$proxy"} \
    sh -c 'apt-get update -q && apt-get upgrade -qy'
fi
chroot "$root" apt-get clean
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/debconf/*-old "$root"/usr/share/doc/* "$root"/usr/share/man/* \
  "$root"/var/log/*.log "$root"/etc/resolv.conf "$root"/etc/hostname

path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
if [[ $ENGINE == buildah ]]; then
  container=$(buildah from scratch)
  trap 'buildah rm "$container" >/dev/null; rm -rf --one-file-system "$work"' EXIT
  tar -C "$root" -c . | tar -C "$(buildah mount "$container")" -x --same-owner --numeric-owner
  buildah umount "$container" >/dev/null
  buildah config --cmd python3 --env PATH="$path" "$container"
  buildah commit --quiet "$container" "$image" >/dev/null
else
  tar -C "$root" -c . | "$ENGINE" import --change 'CMD ["python3"]' --change "ENV PATH=$path" - "$image" >/dev/null
fi
echo "$image: Debian $suite, $(chroot "$root" python3 --version), $(du -sm "$root" | cut -f1) MB"
