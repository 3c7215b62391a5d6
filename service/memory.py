"""The C library's heaps. Other C libraries than glibc need no telling, and do not tell what is in use: None."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGE_BYTES = 8_000_000
_SPARE_BYTES = 2_000_000
_MALLINFO2 = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class _Mallinfo2(ctypes.Structure):
    """mallinfo(3): of all heaps of the process."""

    _fields_ = [(name, ctypes.c_size_t) for name in _MALLINFO2]


def arrange_heaps() -> None:
    """Have blocks of 8 MB and more returned to the system when they are free, and of each heap's end what is over 2 MB.

    Left alone glibc takes Pillow's blocks of 16 MB from heaps of each thread once a few were freed, and keeps those:
    some rounds of large pictures, decoded four at a time, left 780 MB behind; with this, up to 98 MB. Told only the
    first, it returns a heap's end from 128 KB on, and who needs more for a moment fetches it from the system each time:
    rankings took twice as long while they had no buffer of their own (mallopt(3), docs/experiments.md).
    """
    if (libc := _glibc()) is not None:
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _SPARE_BYTES)


def heap_bytes_in_use() -> int | None:
    """What was taken from glibc's heaps and not given back. Resident memory has what is free between it, too."""
    libc = _glibc()
    if libc is None or not hasattr(libc, "mallinfo2"):
        return None
    libc.mallinfo2.restype = _Mallinfo2
    info = libc.mallinfo2()
    return int(info.uordblks) + int(info.hblkhd)


def _glibc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if libc is not None and hasattr(libc, "gnu_get_libc_version") else None
