"""SANA-FE, a simulator of a described chip: it gets our placement and a recorded run, and gives energy and time.

SANA-FE is GPL-3.0 and no part of this package: it runs in a process of its own (child.py), is spoken to through files,
and is installed by whoever wants it.
"""

from neurotarget.errors import UserError


class SanafeError(UserError):
    """SANA-FE is missing, failed, or did not finish in time: one sentence that says why and what to do."""
