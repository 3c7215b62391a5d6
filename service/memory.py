"""Memory of pictures goes back to the system."""

import ctypes
import sys

_M_MMAP_THRESHOLD = -3
_BYTES = 8_000_000


def return_large_blocks() -> None:
    """Let glibc map blocks of 8 MB and more by themselves, so that they are returned as soon as they are free.

    Left alone it takes Pillow's blocks of 16 MB from heaps of each thread once a few were freed, and keeps those: some
    rounds of large pictures, decoded four at a time, left 780 MB behind; with this, up to 98 MB (mallopt(3)). Other C
    libraries have no such heaps: nothing is done there.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is not None and hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(_M_MMAP_THRESHOLD, _BYTES)
