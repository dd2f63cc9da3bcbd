"""From modules of PyTorch to nodes of NIR."""
