"""Which seeds a test takes: some in its quick form, all of them in its long form."""

from typing import Any

import pytest


def seeds(always: int, of: int) -> list[Any]:
    """List the seeds below a number to parametrize with; all but the first few are of the long form."""
    return [pytest.param(seed, marks=[pytest.mark.long] if seed >= always else []) for seed in range(of)]
