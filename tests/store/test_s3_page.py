"""docs/s3.md names what the code reads and says."""

from __future__ import annotations

import json
import re
from pathlib import Path

from rtpipeline.store import s3_client, s3_errors

PAGE = (Path(__file__).parents[2] / "docs" / "s3.md").read_text(encoding="utf-8")
CODE = "".join(Path(module.__file__ or "").read_text(encoding="utf-8") for module in (s3_client, s3_errors))


def test_every_variable_of_the_page_is_read_and_every_one_read_is_on_the_page() -> None:
    on_page = set(re.findall(r"\b(?:AWS|RTPIPELINE_S3)_[A-Z0-9_]+\b", PAGE))
    table = set(re.findall(r"\b(?:AWS|RTPIPELINE_S3)_[A-Z0-9_]+\b", s3_client.__doc__ or ""))
    assert on_page == table
    assert set(re.findall(r'environment(?:\.get\(|\[)"([A-Z0-9_]+)"', CODE)) <= on_page | {
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"
    }
    assert f"{s3_errors.PATIENCE_S:.0f} s" in PAGE


def test_the_policy_of_the_page_is_json_and_asks_for_what_messages_name() -> None:
    lines = PAGE.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith('    {"Version"'))
    end = next(n for n, line in enumerate(lines) if n > start and not line.startswith("    "))
    policy = json.loads("\n".join(lines[start:end]))
    assert {statement["Action"] for statement in policy["Statement"]} == {"s3:ListBucket", "s3:GetObject"}
    assert set(re.findall(r"s3:[A-Z]\w+", CODE)) <= set(re.findall(r"s3:[A-Z]\w+", PAGE))


def test_the_messages_of_the_page_are_messages_of_the_code() -> None:
    table = PAGE[PAGE.index("| message |") :].splitlines()[2:]
    sources = CODE + (Path(s3_client.__file__).parents[1] / "dicom" / "bucket_sources.py").read_text(encoding="utf-8")
    for row in table:
        for message in re.split(r", | \(|\)", row.split("|")[1].strip()):
            words = message.replace("ListObjectsV2", "").strip()
            assert not words or words in sources, words
