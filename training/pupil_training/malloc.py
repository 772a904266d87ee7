"""Keeps glibc from handing memory back between steps, which cost up to 20 times on small machines."""

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h
LARGEST_INT = 2**31 - 1


def keep_memory() -> bool:
    """Tells malloc to reuse what it has: freed pages stay, and nothing is mapped apart. True if it listened."""
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(M_TRIM_THRESHOLD, LARGEST_INT)) and bool(libc.mallopt(M_MMAP_MAX, 0))
