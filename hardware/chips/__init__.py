"""Limits of chips, and where on their cores a network fits."""
