"""Lava back end: everything that imports lava runs in a child process."""
