"""Pseudonyms: hashes keyed with the cohort's secret, so that nobody without it can guess an id back."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from rtpipeline.errors import ConfigError

SECRET_BYTES = 32
HASH_HEX = 12


def keyed_hash(secret: bytes, text: str, length: int = HASH_HEX) -> str:
    """First `length` hex digits of HMAC-SHA256(secret, text): how objects are named outside `private/`."""
    return hmac.new(secret, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:length]


def patient_pseudonym(secret: bytes, patient_key: str) -> str:
    """`p` and 10 hex digits; a valid Kubernetes name."""
    return "p" + keyed_hash(secret, patient_key, 10)


def load_or_make_secret(private: Path, secret_file: Path | None = None) -> bytes:
    """The cohort's secret: from the given file, else from `private/secret`, made once with mode 0600.

    Raises
    ------
    ConfigError: the file is missing, too short, or differs from the one the cohort was made with.
    """
    own = private / "secret"
    if secret_file is not None:
        if not secret_file.is_file():
            raise ConfigError(
                f"--secret-file {secret_file} does not exist; give the file that holds the cohort's secret."
            )
        given = secret_file.read_bytes().strip()
        if len(given) < 16:
            raise ConfigError(f"--secret-file {secret_file} holds {len(given)} bytes; at least 16 are needed.")
        if own.is_file() and own.read_bytes().strip() != given:
            raise ConfigError(
                f"--secret-file {secret_file} differs from the secret this cohort was made with ({own}); "
                "use the same secret, or another --cohort name."
            )
        if not own.is_file():
            _write_secret(own, given)
        return given
    if not own.is_file():
        _write_secret(own, secrets.token_hex(SECRET_BYTES).encode())
    return own.read_bytes().strip()


def _write_secret(path: Path, value: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(value + b"\n")
