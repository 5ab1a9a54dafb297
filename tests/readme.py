"""The README's text and the commands in it."""

from __future__ import annotations

import re

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^ {4}((?:rtpipeline|make) .+?)(?: +#.*)?$", README, re.MULTILINE)
LINES = [*BLOCKS, *re.findall(r"`((?:rtpipeline|make) [^`\n]+)`", README)]
WALK_THROUGH = [line for line in BLOCKS if line.startswith("rtpipeline ")]
