# Which program builds, and how it is called; sourced by the scripts beside it.
# RTPIPELINE_IMAGE_ENGINE  docker, podman or buildah (default: the first of buildah, podman, docker that works here)
# RTPIPELINE_IMAGE_CACHE   folder of buildah's or podman's storage and of downloads (default: theirs)

stop() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 2; }
# usage SCRIPT: the comment at its top
usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "$1"; }

ENGINE=''
# Sets ENGINE, or says what is missing.
find_engine() {
  local candidate
  for candidate in ${RTPIPELINE_IMAGE_ENGINE:-buildah podman docker}; do
    command -v "$candidate" >/dev/null || continue
    [ "$candidate" != docker ] || docker info >/dev/null 2>&1 || continue  # the client without its daemon builds nothing
    ENGINE=$candidate
    break
  done
  [ -n "$ENGINE" ] || stop "needs buildah, podman or a running docker (RTPIPELINE_IMAGE_ENGINE chooses)"
  if [ -n "${RTPIPELINE_IMAGE_CACHE:-}" ]; then
    mkdir -p "$RTPIPELINE_IMAGE_CACHE/tmp"
    RTPIPELINE_IMAGE_CACHE=$(realpath "$RTPIPELINE_IMAGE_CACHE")
    export TMPDIR=$RTPIPELINE_IMAGE_CACHE/tmp  # layers on their way and cache mounts
  fi
}

# engine ARGUMENTS...: calls it on its storage
engine() {
  if [ -n "${RTPIPELINE_IMAGE_CACHE:-}" ] && [ "$ENGINE" != docker ]; then
    "$ENGINE" --root "$RTPIPELINE_IMAGE_CACHE/storage" --runroot "$RTPIPELINE_IMAGE_CACHE/run" "$@"
  else
    "$ENGINE" "$@"
  fi
}

# build ARGUMENTS...: `build` as each engine wants it. Images are never asked of a registry: see `have`.
build() {
  case $ENGINE in
    buildah) engine build --layers --isolation "${BUILDAH_ISOLATION:-chroot}" --network host --pull-never "$@" ;;
    podman) engine build --layers --network host --pull=never "$@" ;;
    docker) DOCKER_BUILDKIT=1 engine build --network host "$@" ;;
  esac
}

# have IMAGE: fetches it when it is not here
have() {
  engine inspect --type image "$1" >/dev/null 2>&1 && return
  case $1 in localhost/*) stop "no image $1; local_base.sh makes a base" ;; esac
  engine pull "$1" >/dev/null || stop "no image $1"
}

# archive IMAGE FILE: one file that `docker load`, `ctr images import` and their like read
archive() {
  rm -f "$2.part"
  case $ENGINE in
    buildah) engine push --quiet "$1" "docker-archive:$2.part:$1" >/dev/null ;;
    podman) engine save --quiet --format docker-archive --output "$2.part" "$1" >/dev/null ;;
    docker) engine save --output "$2.part" "$1" ;;
  esac
  mv "$2.part" "$2"
}

# image_id IMAGE: what it is, whatever its name; empty when it is not here
image_id() { engine images --quiet --no-trunc "$1" 2>/dev/null | head -1; }

# copy_out IMAGE PATH FOLDER: a path of an image becomes FOLDER
copy_out() {
  local container mounted
  if [ "$ENGINE" = buildah ]; then
    container=$(engine from --pull-never "$1")
    mounted=$(engine mount "$container")
    cp -a "$mounted$2" "$3"
    engine umount "$container" >/dev/null
  else
    container=$(engine create "$1")
    engine cp "$container:$2" "$3"
  fi
  engine rm "$container" >/dev/null
}
