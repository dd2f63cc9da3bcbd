"""From a network in floating point to one in integers for Lava's fixed-point arithmetic."""
