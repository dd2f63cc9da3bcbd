"""Energy as a machine measures it."""
