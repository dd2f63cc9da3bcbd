"""Spiking networks in PyTorch: the model, its data, its training."""
