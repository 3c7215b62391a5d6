"""Processes that work for a command and do not outlive it."""

import multiprocessing
import os
import signal
import threading


def end_with_parent() -> None:
    """Leave Ctrl-C to the parent, and do not wait for work from one that was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
