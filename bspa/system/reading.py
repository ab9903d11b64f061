"""What is wrong with the content of a file is told in one sentence that names the file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

AGAIN = "; delete it and run the same command again"
"""What to do about a file that the workflow made."""


@contextmanager
def reading(path: str | os.PathLike[str], what: str, advice: str = AGAIN) -> Iterator[None]:
    """Read ``path`` in the block: whatever its content makes a reader raise becomes a ValueError.

    Args:
        path: the file.
        what: what the file should be, with its article.
        advice: the end of the message.

    Raises:
        ValueError: the file holds something else, or is damaged.
        OSError: it cannot be opened.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # on damaged data decoders raise whatever comes to hand
        if isinstance(error, OSError) and error.filename is not None:  # the system's, which names the file
            raise
        reason = str(error) if isinstance(error, ValueError) and str(error) else repr(error)
        raise ValueError(f"{path}: not {what}, or damaged ({reason}){advice}") from error
