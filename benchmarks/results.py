"""The file of all benchmarks' figures, benchmarks/results.json, flat; each benchmark adds its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurotarget.files import write_text

RESULTS = Path(__file__).with_name("results.json")


def add(figures: Mapping[str, Any]) -> None:
    """Adds figures to those that are kept, in place of those of the same names."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    write_text(RESULTS, json.dumps(kept | dict(figures), indent=2) + "\n")
