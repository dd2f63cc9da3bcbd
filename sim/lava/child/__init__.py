"""The process that runs Lava, and the parent's side of it."""
