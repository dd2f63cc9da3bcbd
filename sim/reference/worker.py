"""A worker process (workers.py): `python -m neurotarget.sim.reference.worker DESCRIPTOR`.

Over the socket come pickles of its parent alone: `(task number, how many are kept)` and then the task, or a batch
`(task number, number, arguments)`. The answer to a batch is `(number, True, task(*arguments))`, or `(number, False, the
exception)`. It ends when the socket does.
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
    tasks: dict[int, Any] = {}
    with contextlib.suppress(EOFError, OSError):
        while True:
            message = pickle.loads(connection.recv_bytes())
            if len(message) == 2:
                task, kept = message
                tasks[task] = pickle.loads(connection.recv_bytes())
                for old in sorted(tasks)[:-kept]:
                    del tasks[old]
                continue
            task, number, arguments = message
            try:
                answer = (number, True, tasks[task](*arguments))
            except Exception as error:
                answer = (number, False, error)
            connection.send_bytes(pickle.dumps(answer, protocol=5))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    serve(Connection(int(sys.argv[1])))
