"""What holds for all tests: the same examples in every run, and no clock decides."""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
