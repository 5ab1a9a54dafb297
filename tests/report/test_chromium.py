"""The page in a real browser: it opens from disk, fills the window, and its plots are drawn."""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

from rtpipeline.aggregation.stage import run
from tests.aggregation.fabricate import FabricatedCourse, fabricate

OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
WIDTH, HEIGHT = 1400, 3000
TARGET_COLOUR = (0xD5, 0x5E, 0x00)


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no chromium on this machine")
    return found


def pixels(png: Path) -> np.ndarray:
    """(height, width, 3) of an 8-bit RGB or RGBA PNG without interlacing (ISO/IEC 15948)."""
    content = png.read_bytes()
    width, height, depth, colour = struct.unpack(">IIBB", content[16:26])
    assert depth == 8
    channels = {2: 3, 6: 4}[colour]
    at, packed = 8, b""
    while at < len(content):
        (size,) = struct.unpack(">I", content[at : at + 4])
        if content[at + 4 : at + 8] == b"IDAT":
            packed += content[at + 8 : at + 8 + size]
        at += 12 + size
    raw = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, 1 + width * channels)
    rows = np.zeros((height + 1, width, channels), np.uint8)
    for y in range(height):
        line = raw[y, 1:].reshape(width, channels)
        above = rows[y]
        kind = raw[y, 0]
        if kind == 0:
            rows[y + 1] = line
        elif kind == 2:
            rows[y + 1] = line + above
        else:
            rows[y + 1] = _unfiltered(kind, line, above)
    return rows[1:, :, :3]


def _unfiltered(kind: int, line: np.ndarray, above: np.ndarray) -> np.ndarray:
    out = np.zeros((len(line) + 1, line.shape[1]), int)
    up = np.vstack([np.zeros((1, line.shape[1]), int), above.astype(int)])
    for x in range(1, len(out)):
        left, over, corner = out[x - 1], up[x], up[x - 1]
        if kind == 1:
            guess = left
        elif kind == 3:
            guess = (left + over) // 2
        else:
            p = left + over - corner
            distance = np.abs(np.stack([p - left, p - over, p - corner]))
            guess = np.choose(np.argmin(distance, axis=0), [left, over, corner])
        out[x] = (line[x - 1] + guess) % 256
    return out[1:].astype(np.uint8)


def test_the_page_is_drawn(chromium, tmp_path):
    context = fabricate(tmp_path, [FabricatedCourse("p0000000001-c01")])
    run(context)
    shot = tmp_path / "page.png"
    page = (context.out / "report/index.html").as_uri()
    profile, size = f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={WIDTH},{HEIGHT}"
    command = [chromium, *OPTIONS, profile, f"--screenshot={shot}", size, page]
    subprocess.run(command, capture_output=True, timeout=180, check=True)
    image = pixels(shot).astype(int)
    assert image.shape[:2] == (HEIGHT, WIDTH)
    ink = (image.sum(axis=2) < 600).any(axis=1)
    assert ink.mean() > 0.3  # rows with something on them, down the whole window
    assert ink[-HEIGHT // 3 :].any()
    target = np.abs(image - TARGET_COLOUR).max(axis=2) < 12
    assert target.sum() > 500  # the thick curve of a target
