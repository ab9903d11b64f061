"""What disks and hands do to files."""

from __future__ import annotations


def flip_a_byte(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


DAMAGE = {
    "truncated": lambda data: data[:-1],
    "emptied": lambda data: b"",
    "flipped byte": flip_a_byte,
    "zeros": lambda data: bytes(len(data)),
    "of another run": lambda data: data[::-1],
}
