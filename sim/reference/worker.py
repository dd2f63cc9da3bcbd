"""A worker process (workers.py): `python -m neurotarget.sim.reference.worker DESCRIPTOR`.

Over the socket come pickles of its parent alone: a task, kept until the next, and batches `(number, arguments)`. The
answer to each is `(number, True, task(*arguments))`, or `(number, False, the exception)`. It ends when the socket does.
"""

from __future__ import annotations

import contextlib
import pickle
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any


def serve(connection: Connection) -> None:
    """Answers until the parent is gone."""
    task: Any = None
    with contextlib.suppress(EOFError, OSError):
        while True:
            message = pickle.loads(connection.recv_bytes())
            if not isinstance(message, tuple):
                task = message
                continue
            number, arguments = message
            try:
                answer = (number, True, task(*arguments))
            except Exception as error:
                answer = (number, False, error)
            connection.send(answer)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    serve(Connection(int(sys.argv[1])))
