"""Hera refuses what it does not know."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from workflows.strict import models


def test_a_misspelled_field_is_an_error_and_not_silence() -> None:
    with pytest.raises(ValidationError, match="limits"):
        models.RetryStrategy.model_validate({"limits": 3})
    with pytest.raises(ValidationError, match="semaphore"):
        models.Synchronization.model_validate({"semaphore": None})


def test_models_that_were_loaded_before_the_switch_are_refused() -> None:
    """They would stay lenient, and no rendered file would show it."""
    done = subprocess.run(
        [sys.executable, "-c", "import hera.workflows, workflows.strict"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "import workflows.strict before hera.workflows" in done.stderr
