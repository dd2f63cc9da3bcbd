"""Compiled passes for training on processors, each with the same through torch beside it."""
