"""`rtpipeline render-config`: the configuration with every key, or its JSON Schema."""

from __future__ import annotations

import argparse
from typing import Any

from rtpipeline.commands import options


def register(verbs: Any) -> None:
    """Add the command."""
    parser = options.add_verb(verbs, "render-config", "print the configuration with every key, or its JSON Schema")
    options.add_config(parser)
    parser.add_argument("--schema", action="store_true", help="the JSON Schema instead of the values")


def handle(args: argparse.Namespace) -> int:
    """Print it."""
    from rtpipeline.config import Config, config_yaml, load_config

    if args.schema:
        options.write_json(Config.model_json_schema())
    else:
        options.write_text(config_yaml(load_config(args.config)))
    return 0
