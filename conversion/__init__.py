"""From a PyTorch checkpoint to a NIR file, checked against PyTorch."""
