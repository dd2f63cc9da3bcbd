import sim  # noqa: F401  sets how OpenMP threads wait, before torch loads
