"""Where the vectors made by others are: beside the checkout (`../shared/data`) or where LEDGER_TEST_DATA says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

DATA = Path(os.environ.get("LEDGER_TEST_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))
VECTORS = DATA / "vectors"

needs_vectors = pytest.mark.skipif(
    not VECTORS.is_dir(), reason="the shared vectors are not here: set LEDGER_TEST_DATA to their folder"
)


def read_vectors(path: str) -> Any:
    """The JSON file at a path below the vectors."""
    return json.loads((VECTORS / path).read_bytes())
