"""An image archive with the code layer alone, for a node that has the image's other layers already.

Usage: code_archive.py APP ONTO.tar OUT.tar [--name NAME:TAG]. APP holds what the code layer puts at
/opt/rtpipeline/app; ONTO.tar is the archive of the whole image (as `docker save` writes it), already loaded where
OUT.tar will be. OUT.tar is an OCI archive that refers to the layers of ONTO.tar by their digests and brings its own
last one: some twenty megabytes in place of gigabytes. `ctr images import` reads it.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLACE = "opt/rtpipeline/app"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class Whole:
    """What the archive of a whole image says of itself."""

    name: str
    config: dict[str, Any]
    layer_sizes: list[int]
    """Bytes of each layer, uncompressed."""


def read_whole(archive: Path) -> Whole:
    """Name, configuration and layers of an archive; its layers are not read."""
    with tarfile.open(archive, "r:") as tar:
        members = {member.name: member for member in tar.getmembers()}

        def loaded(name: str) -> Any:
            stream = tar.extractfile(members[name])
            assert stream is not None
            return json.load(stream)

        manifest = loaded("manifest.json")[0]
        sizes = [members[name].size for name in manifest["Layers"]]
        return Whole(manifest["RepoTags"][0], loaded(manifest["Config"]), sizes)


def code_layer(app: Path) -> bytes:
    """The folder as a layer: sorted, owned by root, without times, so that equal code is an equal layer."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in [app, *sorted(app.rglob("*"))]:
            tar.add(path, (Path(PLACE) / path.relative_to(app)).as_posix(), recursive=False, filter=_anonymous)
    return out.getvalue()


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def with_code(whole: Whole, layer: bytes) -> dict[str, Any]:
    """The configuration with another last layer."""
    config: dict[str, Any] = json.loads(json.dumps(whole.config))
    config["rootfs"]["diff_ids"][-1] = _digest(layer)
    return config


def write_thin(whole: Whole, layer: bytes, name: str, out: Path) -> None:
    """An OCI archive of the configuration, the manifest and the last layer."""
    config = json.dumps(with_code(whole, layer), sort_keys=True).encode()
    sizes = [*whole.layer_sizes[:-1], len(layer)]
    digests = [*whole.config["rootfs"]["diff_ids"][:-1], _digest(layer)]
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _described(CONFIG_TYPE, config),
            "layers": [
                {"mediaType": LAYER_TYPE, "digest": digest, "size": size}
                for digest, size in zip(digests, sizes, strict=True)
            ],
        },
        sort_keys=True,
    ).encode()
    annotations = {"org.opencontainers.image.ref.name": name, "io.containerd.image.name": name}
    index = {"schemaVersion": 2, "manifests": [_described(MANIFEST_TYPE, manifest) | {"annotations": annotations}]}
    part = out.with_suffix(".part")
    with tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as tar:
        for blob in (config, layer, manifest):
            _add(tar, "blobs/sha256/" + _digest(blob).removeprefix("sha256:"), blob)
        _add(tar, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        _add(tar, "index.json", json.dumps(index).encode())
    part.rename(out)


def _described(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def main() -> None:
    """Write the archive that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("app", type=Path)
    parser.add_argument("onto", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--name", help="default: the name in ONTO.tar")
    args = parser.parse_args()
    whole = read_whole(args.onto)
    write_thin(whole, code_layer(args.app), args.name or whole.name, args.out)


if __name__ == "__main__":
    main()
