"""Training on through the integers."""
