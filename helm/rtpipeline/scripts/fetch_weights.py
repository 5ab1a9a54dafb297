"""Fill a folder with the weights of networks: `fetch_weights.py PLAN FOLDER`. Every file is checked against its sha256.

PLAN is JSON: {"files": [{"url", "sha256", "into"?}], "mirror": {"url", "sha256", "into"}}; `into` is a folder below
FOLDER. What is there and right is left alone, so an interrupted fetch goes on where it stopped. Files appear whole or
not at all, and last the folder's SHA256SUMS, which lists them.

Exit codes: 2 the plan is wrong, 3 a file differs from its sha256 (neither is mended by another attempt), 75 try again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

SUMS = "SHA256SUMS"
INTO = "totalsegmentator"
"""Where stages look for TotalSegmentator's networks"""
FETCHED = ".fetched"
"""Folder that remembers what an archive held: one file for each, named by its sha256, in the form of SHA256SUMS"""
BLOCK = 1 << 20
TIMEOUT_S = 60
WRONG_PLAN, DIFFERS, TRY_AGAIN = 2, 3, 75


class FetchError(Exception):
    """Why the fetch ends, and with which exit code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def say(text: str) -> None:
    """One line of the Job's log."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(plan_file: str, folder: str) -> int:
    """Fetch everything; the exit code."""
    try:
        plan = json.loads(Path(plan_file).read_text(encoding="utf-8"))
        for entry in plan["files"]:
            root = Path(folder) / below(entry.get("into", INTO))
            add_to_sums(root, fetch_file(entry["url"], entry["sha256"], root))
        if plan["mirror"]["url"]:
            root = Path(folder) / below(plan["mirror"]["into"])
            add_to_sums(root, mirror(plan["mirror"]["url"], plan["mirror"]["sha256"], root))
    except FetchError as error:
        say(f"error: {error}")
        return error.code
    except OSError as error:
        say(f"error: {error.strerror or error}; another attempt may succeed")
        return TRY_AGAIN
    say("all is there and whole")
    return 0


def add_to_sums(root: Path, sums: dict[str, str]) -> None:
    """List files in the folder's SHA256SUMS, beside what it lists."""
    path = root / SUMS
    known = read_sums(path.read_text(encoding="utf-8")) if path.is_file() else {}
    write_whole(path, sums_text(known | sums).encode())


def fetch_file(url: str, sha256: str, root: Path, path: str = "") -> dict[str, str]:
    """Fetch one file to `root/path`, or unpack an archive into `root` where no path is given.

    Returns {path below root: sha256} of what is there now.
    """
    name = url.rsplit("/", 1)[-1]
    is_archive = name.endswith(".zip") and not path
    memory = root / FETCHED / sha256
    if is_archive and memory.is_file():
        known = read_sums(memory.read_text(encoding="utf-8"))
        if all(is_right(root / below(item), sha) for item, sha in known.items()):
            say(f"{name}: there")
            return known
    target = below(path or name)
    if not is_archive and is_right(root / target, sha256):
        say(f"{target}: there")
        return {str(target): sha256}
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=root) as temporary:
        arrived = Path(temporary) / "file"
        say(f"{name}: fetching")
        download(url, arrived)
        check(arrived, sha256, name)
        if not is_archive:
            put(arrived, root / target)
            return {str(target): sha256}
        held = dict(unpack(arrived, Path(temporary) / "unpacked", root, name))
    write_whole(memory, sums_text(held).encode())
    return held


def unpack(archive: Path, temporary: Path, root: Path, name: str) -> Iterator[tuple[str, str]]:
    """Put every file of a zip archive in its place; (path below root, sha256) of each."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            for member in members:
                below(member.filename)
            for member in members:
                temporary.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as source, temporary.open("wb") as out:
                    shutil.copyfileobj(source, out, BLOCK)
                sha256 = hash_of(temporary)
                put(temporary, root / below(member.filename))
                yield str(below(member.filename)), sha256
    except zipfile.BadZipFile as error:
        raise FetchError(DIFFERS, f"{name} is no zip archive: {error}") from None


def mirror(url: str, sha256: str, root: Path) -> dict[str, str]:
    """Copy a folder of a bucket as its SHA256SUMS lists it; {path below root: sha256}."""
    listed = read_sums(object_of(url.rstrip("/"), SUMS, sha256).decode("utf-8"))
    for name, expected in sorted(listed.items()):
        fetch_file(f"{url.rstrip('/')}/{name}", expected, root, name)
    return listed


def object_of(url: str, name: str, sha256: str) -> bytes:
    """A small object of a folder in a bucket, checked."""
    with tempfile.TemporaryDirectory() as temporary:
        arrived = Path(temporary) / "object"
        download(f"{url}/{name}", arrived)
        check(arrived, sha256, name)
        return arrived.read_bytes()


def download(url: str, target: Path) -> None:
    """The content of an https or s3 URL as a file."""
    if url.startswith("s3://"):
        download_from_bucket(url, target)
    elif url.startswith(("https://", "http://")):
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer, target.open("wb") as out:
            shutil.copyfileobj(answer, out, BLOCK)
            # a connection that breaks looks like the end of the file; what was announced and did not come says so
            if answer.length:
                raise FetchError(TRY_AGAIN, f"{url} broke off {answer.length} bytes before its end")
    else:
        raise FetchError(WRONG_PLAN, f"{url} is neither https:// nor s3://")


def download_from_bucket(url: str, target: Path) -> None:
    """By the product's own reader of buckets, which the image brings."""
    from rtpipeline.errors import RTpipelineError
    from rtpipeline.store.bucket import Bucket

    folder, name = url.rsplit("/", 1)
    try:
        Bucket.open(folder).download(name, target)
    except KeyError:
        raise FetchError(WRONG_PLAN, f"{url} is not there") from None
    except RTpipelineError as error:
        raise FetchError(int(error.exit_code), str(error)) from None


def check(path: Path, sha256: str, name: str) -> None:
    """Raise unless the file has this sha256."""
    found = hash_of(path)
    if found != sha256.lower():
        raise FetchError(DIFFERS, f"{name} has sha256 {found}, need {sha256}: it is not the file that was asked for")


def is_right(path: Path, sha256: str) -> bool:
    """Whether the file is there with this sha256."""
    return path.is_file() and hash_of(path) == sha256.lower()


def hash_of(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def put(arrived: Path, target: Path) -> None:
    """Move a file to its place, where it appears whole, for everybody to read."""
    arrived.chmod(0o644)
    target.parent.mkdir(parents=True, exist_ok=True)
    arrived.replace(target)


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file, which appears whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(content)
    temporary.replace(path)


def below(name: str) -> PurePosixPath:
    """The name as a path that stays below the folder of weights."""
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name:
        raise FetchError(WRONG_PLAN, f"{name!r} does not stay below the folder of weights")
    return path


def read_sums(text: str) -> dict[str, str]:
    """{path: sha256} of the text of a SHA256SUMS."""
    pairs: list[Any] = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    if any(len(pair) != 2 or len(pair[0]) != 64 for pair in pairs):
        raise FetchError(WRONG_PLAN, f"{SUMS} has a line that is not `sha256  path`")
    return {name.lstrip("*"): sha256 for sha256, name in pairs}


def sums_text(sums: dict[str, str]) -> str:
    """The text of a SHA256SUMS."""
    return "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(sums.items()))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
