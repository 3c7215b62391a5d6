"""Run a command that the kernel ends with SIGTERM when the process that started it dies, however that dies.

    python die_with_parent.py PARENT_PID COMMAND [ARGUMENT ...]

Linux only has the parent-death signal; elsewhere the command outlives a killed parent, and EmbeddedValkey adopts it.
Imports the standard library alone, for it is started as a file.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent_pid: int, command: list[str]) -> None:
    """Set the signal, make sure that the parent did not die before it was set, and become the command."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
        if os.getppid() != parent_pid:
            raise SystemExit("the parent process is gone")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
