"""Simulators of NIR files: a vectorised reference, and Lava."""
