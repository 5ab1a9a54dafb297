from __future__ import annotations

import hashlib
import hmac
import stat

import pytest

from rtpipeline.errors import ConfigError
from rtpipeline.store.identity import keyed_hash, load_or_make_secret, patient_pseudonym


def test_a_keyed_hash_is_the_hmac_and_differs_by_secret():
    expected = hmac.new(b"secret", b"1.2.3", hashlib.sha256).hexdigest()[:12]
    assert keyed_hash(b"secret", "1.2.3") == expected
    assert keyed_hash(b"other", "1.2.3") != expected


def test_a_pseudonym_is_a_valid_kubernetes_name():
    name = patient_pseudonym(b"secret", "Müller^É/ 12")
    assert len(name) == 11
    assert name[0] == "p"
    assert name.isalnum()
    assert name == name.lower()


def test_the_secret_is_made_once_and_only_its_owner_reads_it(tmp_path):
    private = tmp_path / "private"
    first = load_or_make_secret(private)
    assert load_or_make_secret(private) == first
    assert len(first) >= 32
    assert stat.S_IMODE((private / "secret").stat().st_mode) == 0o600


def test_a_given_secret_is_kept_and_another_one_later_is_refused(tmp_path):
    private, one, two = tmp_path / "private", tmp_path / "one", tmp_path / "two"
    one.write_text("a" * 32 + "\n")
    two.write_text("b" * 32)
    assert load_or_make_secret(private, one) == b"a" * 32
    assert load_or_make_secret(private) == b"a" * 32
    with pytest.raises(ConfigError, match="differs"):
        load_or_make_secret(private, two)


@pytest.mark.parametrize("content", [None, "short"])
def test_a_missing_or_short_secret_is_refused(tmp_path, content):
    path = tmp_path / "secret"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match="secret"):
        load_or_make_secret(tmp_path / "private", path)
