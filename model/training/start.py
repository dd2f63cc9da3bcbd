"""What a training does with the run that its folder holds: apart from all that needs torch, for the commands."""

from __future__ import annotations

import enum


class Start(enum.Enum):
    """What becomes of the run that is there."""

    NEW = "refuse it"
    RESUME = "go on with it"
    FORCE = "start over in its place"
