#!/usr/bin/env bash
# local_base.sh [--engine E] [--suite bookworm] [--mirror URL] [--keep FOLDER] [NAME:TAG]
# Makes a base image of Debian with Python from a Debian mirror alone, and NAME:TAG-build, the same with a C compiler: no
# registry is asked. For air-gapped places, and for the tests. Needs root, debootstrap, and docker, podman or buildah.
# Default name: localhost/rtpipeline-base:SUITE. With --keep, the files of the base image stay in FOLDER.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/engine.sh"

suite=bookworm mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian} keep='' name=''
while [ $# -gt 0 ]; do
  case $1 in
    --engine) RTPIPELINE_IMAGE_ENGINE=$2; shift 2 ;;
    --suite) suite=$2; shift 2 ;;
    --mirror) mirror=$2; shift 2 ;;
    --keep) keep=$2; shift 2 ;;
    -h | --help) usage "$0"; exit 0 ;;
    -*) stop "unknown option $1" ;;
    *) name=$1; shift ;;
  esac
done
name=${name:-localhost/rtpipeline-base:$suite}
[ "$(id -u)" = 0 ] || stop "debootstrap needs root"
command -v debootstrap >/dev/null || stop "debootstrap is missing: apt-get install debootstrap"
find_engine

scratch=$(mktemp -d "${TMPDIR:-/tmp}/rtpipeline-base.XXXXXX")
trap 'rm -rf --one-file-system "$scratch"' EXIT
root=$scratch/root
debootstrap --variant=minbase --include=ca-certificates,libgomp1,python3,python3-venv "$suite" "$root" "$mirror" \
  >"$scratch/log" 2>&1 || { tail -5 "$scratch/log" >&2; stop "debootstrap failed"; }

# what a container never reads; certificates and time zones stay
find "$root"/var/{cache,log} "$root"/var/lib/apt/lists -type f -delete
rm -rf "$root"/usr/share/{doc,info,locale,man,lintian,bash-completion} "$root"/{tmp,var/tmp}/* "$root"/debootstrap
find "$root"/usr -name __pycache__ -prune -exec rm -rf {} +
: >"$root/etc/hostname"
rm -f "$root/etc/resolv.conf"
if [ -n "$keep" ]; then cp -a "$root" "$keep"; fi

tar --sort=name --numeric-owner --exclude=./dev/\* --exclude=./proc/\* --exclude=./sys/\* -C "$root" -cf "$scratch/base.tar" .
case $ENGINE in
  buildah)
    container=$(engine from scratch)
    engine add --quiet "$container" "$scratch/base.tar" / >/dev/null
    engine config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --cmd /bin/bash "$container"
    engine commit --quiet --rm "$container" "$name" >/dev/null
    ;;
  *) engine import --change 'CMD ["/bin/bash"]' "$scratch/base.tar" "$name" >/dev/null ;;
esac

context=$(mktemp -d "$scratch/context.XXXXXX")
cat >"$context/Dockerfile" <<EOF
FROM $name
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive \\
    apt-get install -qq --no-install-recommends gcc libc6-dev python3-dev >/dev/null && rm -rf /var/lib/apt/lists/*
EOF
build --tag "$name-build" "$context" >"$scratch/log" 2>&1 || { tail -5 "$scratch/log" >&2; stop "no compiler installed"; }
echo "$name"
