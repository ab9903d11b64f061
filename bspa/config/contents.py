"""What the user's own files hold, so that a changed photograph changes the key of everything made of it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path


class Contents:
    """SHA-256 of files, remembered by path, size and time of change.

    Planning asks for the same photographs again and again; only new and changed ones are read.
    """

    def __init__(self, memory: Path):
        """Keep what is known in the file ``memory``; it may be deleted at any time."""
        self._memory = memory
        self._known: dict[str, list[str]] = {}
        with contextlib.suppress(OSError, ValueError):
            self._known = json.loads(memory.read_text(encoding="utf-8"))

    def digest(self, files: Iterable[Path]) -> str:
        """Digest the content of ``files``, in order; of a file that cannot be read, the name counts."""
        known = dict(self._known)
        digests = "".join(map(self._digest_one, files))
        if self._known != known:
            self._save()
        return hashlib.sha256(digests.encode()).hexdigest()

    def _digest_one(self, file: Path) -> str:
        path = str(file.absolute())
        try:
            status = file.stat()
            state = f"{status.st_size} {status.st_mtime_ns}"
            if self._known.get(path, [""])[0] != state:
                with file.open("rb") as opened:
                    self._known[path] = [state, hashlib.file_digest(opened, "sha256").hexdigest()]
        except OSError:
            return f"unreadable {path!a}"
        return self._known[path][1]

    def _save(self) -> None:
        # Planning goes on without it, for example where the results cannot be written.
        with contextlib.suppress(OSError):
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._memory.with_name(f".{self._memory.name}.{os.getpid()}")
            temporary.write_text(json.dumps(self._known), encoding="utf-8")
            temporary.replace(self._memory)
