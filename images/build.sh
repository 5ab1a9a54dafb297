#!/usr/bin/env bash
# build.sh [OPTION]... [cpu|gpu|all|code]   (default: all; gpu builds the cpu image first, whose code it takes)
#   --base IMAGE         Debian or the like with Python 3.11 (default docker.io/library/python:3.11-slim)
#   --build-base IMAGE   the same with a C compiler (default docker.io/library/python:3.11, or BASE-build of a local BASE)
#   --local-base         make the base with local_base.sh where it is not here yet; no registry is asked
#   --repository NAME    images are NAME/rtpipeline-cpu and NAME/rtpipeline-gpu (default localhost)
#   --tag TAG            default: rtpipeline.__version__
#   --archive FOLDER     also write FOLDER/rtpipeline-{cpu,gpu}.tar, for `docker load`, `ctr images import`, ...
#                        `code` writes FOLDER/code/rtpipeline-{cpu,gpu}-code.tar: the code layer alone, for a node that
#                        has loaded the whole archives; those are made when they are missing or of other libraries
#   -- ARGUMENTS...      go to the program that builds as they are
# Settings of the package index (PIP_*, UV_*, proxies, pip.conf, certificates) are taken from the environment and reach
# the build as secrets: no layer keeps them. RTPIPELINE_IMAGE_ENGINE and RTPIPELINE_IMAGE_CACHE: see engine.sh.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
. "$here/engine.sh"

base=docker.io/library/python:3.11-slim build_base='' repository=localhost archives='' what=all local_base=''
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$root/rtpipeline/__init__.py")
tag=$version
while [ $# -gt 0 ]; do
  case $1 in
    --base) base=$2; shift 2 ;;
    --build-base) build_base=$2; shift 2 ;;
    --local-base) local_base=1 base=localhost/rtpipeline-base:bookworm; shift ;;
    --repository) repository=$2; shift 2 ;;
    --tag) tag=$2; shift 2 ;;
    --archive) archives=$2; shift 2 ;;
    -h | --help) usage "$0"; exit 0 ;;
    --) shift; break ;;
    cpu | gpu | all | code) what=$1; shift ;;
    *) stop "unknown argument $1" ;;
  esac
done
if [ -z "$build_base" ]; then
  case $base in localhost/*) build_base=$base-build ;; *) build_base=docker.io/library/python:3.11 ;; esac
fi
[ "$what" != code ] || [ -n "$archives" ] || stop "code needs --archive FOLDER"
find_engine
if [ -n "$local_base" ] && [ -z "$(image_id "$base-build")" ]; then "$here/local_base.sh" "$base"; fi
have "$base"
have "$build_base"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# shell_settings: the environment's index settings as a file that a build step reads
shell_settings() {
  local name index
  while IFS= read -r name; do
    case $name in
      PIP_CERT | PIP_CONFIG_FILE | PIP_FIND_LINKS | UV_CACHE_DIR | UV_PROJECT* | UV_PYTHON*) ;;  # folders of this machine
      PIP_* | UV_* | *_proxy | *_PROXY) printf 'export %s=%q\n' "$name" "${!name}" ;;
    esac
  done < <(compgen -e)
  # uv does not read pip's settings
  index=$(python3 -m pip config list 2>/dev/null | sed -n "s/^global\.index.url='\(.*\)'$/\1/p" || true)
  index=${UV_DEFAULT_INDEX:-${UV_INDEX_URL:-${PIP_INDEX_URL:-$index}}}
  [ -z "$index" ] || printf 'export UV_DEFAULT_INDEX=%q PIP_INDEX_URL=%q\n' "$index" "$index"
  if [ -n "$certificates" ]; then
    for name in SSL_CERT_FILE PIP_CERT REQUESTS_CA_BUNDLE CURL_CA_BUNDLE; do
      echo "export $name=/run/secrets/certificates"
    done
  fi
}
certificates=${SSL_CERT_FILE:-${PIP_CERT:-${REQUESTS_CA_BUNDLE:-}}}
shell_settings >"$scratch/settings"
options=(--secret "id=settings,src=$scratch/settings")
[ -z "$certificates" ] || options+=(--secret "id=certificates,src=$certificates")
options+=(--build-arg "BASE=$base" --build-arg "VERSION=$version")
revision=$(git -C "$root" rev-parse HEAD 2>/dev/null || true)
[ -z "$revision" ] || options+=(--build-arg "REVISION=$revision")

# make_image FILE TARGET IMAGE [ARGUMENTS...]
make_image() {
  local file=$1 target=$2 image=$3 start=$SECONDS; shift 3
  build "${options[@]}" --file "$here/$file/Dockerfile" --target "$target" --tag "$image" "$@" "$root" \
    >"$scratch/log" 2>&1 || { tail -30 "$scratch/log" >&2; stop "$image: the build failed"; }
  echo "$image built in $((SECONDS - start)) s"
}
of_cpu=(--build-arg "BUILD_BASE=$build_base" "$@")
of_gpu=(--build-arg "CPU_IMAGE=$repository/rtpipeline-cpu:$tag"
  --build-arg "CPU_DEPENDENCIES=$repository/rtpipeline-cpu-dependencies:$tag" "$@")
named() { echo "$repository/rtpipeline-$1:$tag"; }
make_whole() {
  make_image cpu image "$(named cpu)" "${of_cpu[@]}"
  [ "$what" = cpu ] || make_image gpu image "$(named gpu)" "${of_gpu[@]}"
}
# write_whole cpu|gpu: the archive, and beside it on which libraries it stands
write_whole() {
  local start=$SECONDS
  archive "$(named "$1")" "$archives/rtpipeline-$1.tar"
  image_id "$(named "$1-dependencies")" >"$archives/rtpipeline-$1.libraries"
  echo "$archives/rtpipeline-$1.tar written in $((SECONDS - start)) s"
}
# stands cpu|gpu: the archive is there and stands on today's libraries
stands() {
  [ -e "$archives/rtpipeline-$1.tar" ] &&
    [ "$(cat "$archives/rtpipeline-$1.libraries" 2>/dev/null)" = "$(image_id "$(named "$1-dependencies")")" ]
}

[ -z "$archives" ] || mkdir -p "$archives"
make_image cpu dependencies "$(named cpu-dependencies)" "${of_cpu[@]}"
[ "$what" = cpu ] || make_image gpu dependencies "$(named gpu-dependencies)" "${of_gpu[@]}"
if [ "$what" != code ]; then
  make_whole
  for image in cpu gpu; do
    if [ -n "$archives" ] && { [ "$what" = all ] || [ "$what" = $image ]; }; then write_whole $image; fi
  done
  exit
fi

stands cpu && stands gpu || make_whole
for image in cpu gpu; do stands $image || write_whole $image; done
make_image cpu code "$(named code)" "${of_cpu[@]}"
copy_out "$(named code)" /opt/rtpipeline/app "$scratch/app"
mkdir -p "$archives/code"
for image in cpu gpu; do
  out=$archives/code/rtpipeline-$image-code.tar
  python3 "$here/code_archive.py" "$scratch/app" "$archives/rtpipeline-$image.tar" "$out"
  echo "$out written"
done
