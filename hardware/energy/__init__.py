"""What it costs: prices with sources, memory, claims, the verdict."""
