"""Hera with models that refuse what they do not know.

As shipped, `hera.workflows.models` drop unknown fields without a word: a misspelled `limits=3` of a retry strategy
would leave a stage without retries. The switch works only before the models are imported, so everything here imports
Hera from this module.
"""

from __future__ import annotations

import sys

_LOADED_EARLIER = "hera.workflows" in sys.modules

from hera.shared import _pydantic  # noqa: E402

_pydantic.APIBaseModel.model_config["extra"] = "forbid"

from hera import workflows as hera  # noqa: E402
from hera.workflows import models  # noqa: E402

if _LOADED_EARLIER:
    raise ImportError("import workflows.strict before hera.workflows: its models are loaded already and not strict.")

__all__ = ["hera", "models"]
