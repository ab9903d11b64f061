"""Fetching from a local HTTP server that breaks off, changes, or sends something else."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bspa.data import fetch as module
from bspa.data.fetch import BLOCK, fetch

CONTENT = random.Random(1).randbytes(4 * BLOCK + 1000)
OTHER = CONTENT[::-1]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


DIGEST = sha256(CONTENT)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        resource = self.server.resources[self.path]
        resource.ranges.append(self.headers["Range"])
        answer = resource.answers.pop(0) if len(resource.answers) > 1 else resource.answers[0]
        answer(self)

    def log_message(self, *args: object) -> None:
        pass


Answer = Callable[[Handler], None]


def send(
    handler: Handler, content: bytes = CONTENT, *, limit: int | None = None, ranges: bool = True
) -> None:
    """Answer as a good server, but stop after ``limit`` bytes, or know no ranges."""
    asked, start = handler.headers["Range"], 0
    if asked and ranges:
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    else:
        handler.send_response(200)
    handler.send_header("Content-Length", str(len(content) - start))
    handler.end_headers()
    handler.wfile.write(content[start:][:limit])


def status(handler: Handler, code: int, kind: str = "text/plain", body: bytes = b"") -> None:
    handler.send_response(code)
    handler.send_header("Content-Type", kind)
    handler.end_headers()
    handler.wfile.write(body)


broken: Answer = partial(send, limit=BLOCK)


class Resource:
    """A file on the server; the last answer is that of all later requests."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.ranges: list[str | None] = []


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.resources: dict[str, Resource] = {}

    def add(self, *answers: Answer) -> tuple[str, Resource]:
        path, resource = f"/{len(self.resources)}.zip", Resource(*answers)
        self.resources[path] = resource
        return f"http://127.0.0.1:{self.server_port}{path}", resource


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(module, "BACKOFF", 0.001)
    monkeypatch.setattr(module, "ATTEMPTS", 3)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


Get = Callable[..., bytes]


@pytest.fixture
def get(tmp_path: Path) -> Get:
    """Fetch to a target that must not be there after a failure; return its bytes."""

    def get(*urls: str, **options: Any) -> bytes:
        target = tmp_path / "out" / "set.zip"
        try:
            digest = fetch(urls, target, **({"sha256": None} | options))
        except BaseException:
            assert not target.exists()
            raise
        assert list(target.parent.iterdir()) == [target]
        content = target.read_bytes()
        target.unlink()
        assert digest == sha256(content)
        return content

    return get


@pytest.mark.parametrize(
    ("answers", "ranges"),
    [
        ([send], [None]),
        ([broken, broken, send], [None, f"bytes={BLOCK}-", f"bytes={2 * BLOCK}-"]),
        ([broken, partial(send, ranges=False)], [None, f"bytes={BLOCK}-"]),
        ([broken, partial(status, code=416), send], [None, f"bytes={BLOCK}-", None]),
        ([broken, partial(status, code=503), send], [None, f"bytes={BLOCK}-", f"bytes={BLOCK}-"]),
    ],
    ids=["whole", "resumed", "no ranges", "416", "503"],
)
def test_a_broken_download_goes_on_where_a_digest_is_pinned(
    server: Server, get: Get, answers: list[Answer], ranges: list[str | None]
) -> None:
    url, resource = server.add(*answers)
    assert get(url, sha256=DIGEST, size=len(CONTENT)) == CONTENT
    assert resource.ranges == ranges


def test_without_a_digest_it_starts_over(server: Server, get: Get) -> None:
    url, resource = server.add(broken, send)
    assert get(url) == CONTENT
    assert resource.ranges == [None, None]


def test_the_next_run_resumes_the_same_address_and_digest_alone(server: Server, get: Get) -> None:
    url, resource = server.add(broken, partial(status, code=404))
    other_url, other = server.add(send)
    with pytest.raises(OSError, match="404"):
        get(url, sha256=DIGEST)
    resource.answers = [partial(send, content=OTHER)]
    with pytest.raises(OSError, match=r"has .* sha256"):
        get(url, sha256="0" * 64)  # of another digest
    resource.answers = [send]
    assert get(url, sha256=DIGEST) == CONTENT
    assert resource.ranges[-2:] == [None, f"bytes={BLOCK}-"]
    resource.answers = [broken, partial(status, code=404)]
    assert get(url, other_url, sha256=DIGEST) == CONTENT  # of another address
    assert other.ranges == [None]


@pytest.mark.parametrize(
    ("answer", "requests"),
    [
        (partial(status, code=404), 1),
        (partial(status, code=503), 3),
        (partial(status, code=200, kind="text/html; charset=utf-8", body=b"<p>Log in"), 1),
        (partial(send, content=OTHER), 1),
        (partial(send, content=CONTENT[:-1]), 1),
        (partial(status, code=200, kind="application/zip", body=CONTENT + b"!"), 1),
        (partial(send, ranges=False, limit=BLOCK), 4),
        (lambda handler: None, 3),
    ],
    ids=["404", "503", "page", "digest", "size", "long", "breaks at one place", "silent"],
)
def test_a_bad_address_gives_way_to_its_mirror(
    server: Server, get: Get, answer: Answer, requests: int
) -> None:
    (first, bad), (second, good) = server.add(answer), server.add(send)
    assert get(first, second, sha256=DIGEST, size=len(CONTENT)) == CONTENT
    assert (len(bad.ranges), len(good.ranges)) == (requests, 1)


def test_a_hanging_server_gives_way_to_its_mirror(
    server: Server, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.1)
    release = threading.Event()
    (hangs, _), (works, _) = server.add(lambda handler: release.wait(10) and None), server.add(send)
    try:
        assert get(hangs, works) == CONTENT
    finally:
        release.set()


def test_one_error_names_each_address_and_its_reason(server: Server, get: Get, tmp_path: Path) -> None:
    with Server() as gone:
        dead, _ = gone.add(send)
    urls = [server.add(partial(status, code=404))[0], server.add(partial(send, content=OTHER))[0], dead]
    urls += [str(tmp_path / "nothing.zip"), str(tmp_path), "ftp://example.org/a.zip"]
    reasons = ["404", sha256(OTHER), "refused", "No such file", "Is a directory", "No such file"]
    with pytest.raises(OSError, match=r"could not fetch set\.zip") as caught:
        get(*urls, sha256=DIGEST)
    lines = str(caught.value).splitlines()[1:]
    for line, url, reason in zip(lines, urls, reasons, strict=True):
        assert line.strip().startswith(f"{url}: ")
        assert reason in line


@pytest.mark.parametrize("address", [str, Path.as_uri], ids=["path", "file"])
def test_a_local_file_is_copied(tmp_path: Path, get: Get, address: Callable[[Path], str]) -> None:
    mine = tmp_path / "my copy.zip"
    mine.write_bytes(CONTENT)
    assert get(address(mine), sha256=DIGEST, size=len(CONTENT)) == CONTENT
    assert mine.read_bytes() == CONTENT


def test_a_target_is_kept_only_where_its_digest_is_pinned(server: Server, tmp_path: Path) -> None:
    url, resource = server.add(send)
    target = tmp_path / "set.zip"
    for found, pinned, requests in ((CONTENT, DIGEST, 0), (OTHER, DIGEST, 1), (CONTENT, None, 2)):
        target.write_bytes(found)
        assert fetch([url], target, sha256=pinned) == DIGEST
        assert target.read_bytes() == CONTENT
        assert len(resource.ranges) == requests
