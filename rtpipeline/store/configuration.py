"""A configuration with the files it names, as one archive: how it reaches the pods of a cluster.

`config.yaml` at the top, the files below `files/`. The user's manifest holds ids of patients, so bundles lie under
`private/`. Same configuration, same bytes; a name that ends with their digest says which configuration is meant.
"""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from rtpipeline.config import Config, Section, config_yaml, load_config, parse_config
from rtpipeline.errors import UsageError
from rtpipeline.store.folder import staged
from rtpipeline.store.keys import DIGEST_HEX
from rtpipeline.store.packing import add_bytes, members, packed_stream, write_member

DEFAULT = "default"
"""Name that stands for the defaults where the bucket holds no such bundle."""

CONFIG, FILES = "config.yaml", "files"
PLACES = frozenset({"custom_models.root"})
"""Folders of the machine that computes, such as a mounted `/weights`: named and not carried."""

_DIGEST = re.compile(rf"-([0-9a-f]{{{DIGEST_HEX}}})\Z")


def named_files(config: Config) -> dict[str, Path]:
    """The files that a configuration names, by dotted key, as in `dvh.constraints`; no folders."""
    return {key: path for key, path in _paths(config) if key not in PLACES}


def _paths(section: Section, prefix: str = "") -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            found += _paths(value, f"{prefix}{name}.")
        elif isinstance(value, Path):
            found.append((f"{prefix}{name}", value))
    return found


def bundle(config: Config) -> bytes:
    """The archive of a configuration.

    Raises
    ------
    UsageError: a file that it names does not exist.
    """
    content: dict[str, Any] = yaml.safe_load(config_yaml(config))
    files: dict[str, bytes] = {}
    for key, path in named_files(config).items():
        if not path.is_file():
            raise UsageError(f"the configuration's {key} names {path}, which does not exist.")
        # by key and not by name: two settings may name files of one name, and a name may say whose they are
        name = f"{FILES}/{key}{path.suffix}"
        files[name] = path.read_bytes()
        _set(content, key, name)
    raw = io.BytesIO()
    with packed_stream(raw) as archive:
        add_bytes(archive, CONFIG, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())
        for name, data in sorted(files.items()):
            add_bytes(archive, name, data)
    return raw.getvalue()


def _set(content: dict[str, Any], key: str, value: str) -> None:
    *sections, name = key.split(".")
    for section in sections:
        content = content[section]
    content[name] = value


def unbundle(archive: Path, folder: Path) -> Config:
    """The configuration of an archive, whose files then lie in `folder`, made by a rename.

    Raises
    ------
    UsageError: the archive has no `config.yaml`, or an unsafe member. ConfigError: it cannot be used.
    TransientError: the archive is cut.
    """
    with staged(folder) as scratch:
        with members(archive) as found:
            for info, content in found:
                parts = PurePosixPath(info.name).parts
                if parts != (CONFIG,) and not (parts[0] == FILES and len(parts) == 2):
                    raise UsageError(f"{archive.name} is no configuration; it holds more than {CONFIG} and {FILES}/.")
                write_member(info, content, scratch)
        if not (scratch / CONFIG).is_file():
            raise UsageError(f"{archive.name} is no configuration; it holds no {CONFIG}.")
    return load_config(folder / CONFIG)


def configuration_name(stem: str, archive: bytes) -> str:
    """`<stem>-<12 hex of the content>`: under such a name no other configuration is ever taken for this one."""
    return f"{stem}-{hashlib.sha256(archive).hexdigest()[:DIGEST_HEX]}"


def named_configuration(name: str, archive: Path, folder: Path) -> Config:
    """The configuration called `name`; the defaults for the name `default` alone, where there is no archive.

    Raises
    ------
    UsageError: there is none of this name, or it is not the one that the name's digest stands for; as `unbundle`.
    """
    if not archive.is_file():
        if name != DEFAULT:
            raise UsageError(
                f"there is no configuration {name or '(no name given)'} for this cohort; put it there with "
                f"`python -m workflows.submit --config FILE`, or start with the configuration {DEFAULT!r}."
            )
        return parse_config({})
    named = _DIGEST.search(name)
    if named and not hashlib.sha256(archive.read_bytes()).hexdigest().startswith(named[1]):
        raise UsageError(f"the configuration {name} is not the one that its name stands for; submit it again.")
    return unbundle(archive, folder)
