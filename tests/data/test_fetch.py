from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from bspa.data import fetch as download
from bspa.data.fetch import DownloadError, fetch

CONTENT = random.Random(1).randbytes(300_000)
OTHER = random.Random(2).randbytes(300_000)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Resource:
    """A file on the server: ``steps`` are taken one for each request, ``then`` for all later ones."""

    def __init__(
        self, content: bytes, *steps: Step, then: Step | None = None, etag: str | None = '"v1"'
    ) -> None:
        self.content = content
        self.etag = etag
        self.modified: str | None = None
        self.steps = list(steps)
        self.then = then or whole
        self.requests: list[SimpleNamespace] = []

    @property
    def ranges(self) -> list[str | None]:
        return [request.range for request in self.requests]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        resource = self.server.resources[self.path]
        headers = {"range": self.headers["Range"], "if_range": self.headers["If-Range"]}
        resource.requests.append(SimpleNamespace(**headers))
        self.close_connection = True
        step = resource.steps.pop(0) if resource.steps else resource.then
        step(self, resource)

    def log_message(self, *args: object) -> None:
        pass


Step = Callable[[Handler, Resource], None]


def send(
    handler: Handler, resource: Resource, *, limit: int | None = None, ranges: bool = True, check: bool = True
) -> None:
    """Answer as a good server does, but stop after ``limit`` bytes of the body."""
    start = 0
    asked = handler.headers["Range"]
    if (
        asked
        and ranges
        and (not check or handler.headers["If-Range"] in (None, resource.etag, resource.modified))
    ):
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        total = len(resource.content)
        if start >= total:
            return status(416)(handler, resource)
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
    else:
        handler.send_response(200)
    if resource.etag:
        handler.send_header("ETag", resource.etag)
    if resource.modified:
        handler.send_header("Last-Modified", resource.modified)
    handler.send_header("Content-Length", str(len(resource.content) - start))
    handler.end_headers()
    body = resource.content[start:]
    handler.wfile.write(body if limit is None else body[:limit])
    return None


def whole(handler: Handler, resource: Resource) -> None:
    send(handler, resource)


def cut(limit: int) -> Step:
    return lambda handler, resource: send(handler, resource, limit=limit)


def without_ranges(limit: int | None = None) -> Step:
    return lambda handler, resource: send(handler, resource, limit=limit, ranges=False)


def unchecked(handler: Handler, resource: Resource) -> None:
    send(handler, resource, check=False)


def status(code: int, **headers: str) -> Step:
    def step(handler: Handler, resource: Resource) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return step


def body(content: bytes, **headers: str) -> Step:
    """Answer 200 with ``content`` and no length but what ``headers`` say."""

    def step(handler: Handler, resource: Resource) -> None:
        handler.send_response(200)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return step


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.resources: dict[str, Resource] = {}

    def add(self, path: str, resource: Resource) -> str:
        self.resources[path] = resource
        return f"http://127.0.0.1:{self.server_port}{path}"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


@pytest.fixture
def get(tmp_path: Path) -> Callable[..., bytes]:
    """Fetch to a target that must not be there after a failure; return its bytes."""

    def get(*urls: str, **options: object) -> bytes:
        target = tmp_path / "set.zip"
        settings = {"sha256": None, "size": None, "backoff": 0.001, "timeout": 5.0, "attempts": 3} | options
        try:
            digest = fetch(urls, target, state=tmp_path / "state", **settings)
        except BaseException:
            assert not target.exists()
            raise
        assert list((tmp_path / "state").iterdir()) == []
        assert digest == sha256(target.read_bytes())
        return target.read_bytes()

    return get


def test_whole_file(server, get):
    resource = Resource(CONTENT)
    url = server.add("/set.zip", resource)
    assert get(url, sha256=sha256(CONTENT).upper(), size=len(CONTENT)) == CONTENT
    assert resource.ranges == [None]


def test_a_cut_connection_is_resumed_where_it_broke(server, get):
    resource = Resource(CONTENT, cut(100_000), cut(50_000))
    assert get(server.add("/set.zip", resource)) == CONTENT
    assert resource.ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert [request.if_range for request in resource.requests] == [None, '"v1"', '"v1"']


def test_cuts_that_bring_new_bytes_are_not_counted(server, get):
    resource = Resource(CONTENT, *[cut(30_000)] * 9)
    assert get(server.add("/set.zip", resource), attempts=1) == CONTENT
    assert len(resource.requests) == 10


def test_a_weak_etag_does_not_identify_bytes_but_a_date_does(server, get):
    resource = Resource(CONTENT, cut(1000), etag='W/"v1"')
    resource.modified = "Tue, 14 Feb 2017 14:27:11 GMT"
    assert get(server.add("/set.zip", resource)) == CONTENT
    assert resource.requests[1].if_range == resource.modified


def test_server_without_ranges_starts_over(server, get):
    resource = Resource(CONTENT, without_ranges(200_000), then=without_ranges())
    assert get(server.add("/set.zip", resource)) == CONTENT
    assert resource.ranges == [None, "bytes=200000-"]


def test_server_that_sends_another_range_starts_over(server, get):
    def other_range(handler: Handler, resource: Resource) -> None:
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}")
        handler.end_headers()
        handler.wfile.write(resource.content)

    resource = Resource(CONTENT, cut(100_000), other_range)
    assert get(server.add("/set.zip", resource)) == CONTENT
    assert resource.ranges == [None, "bytes=100000-", None]


def test_server_that_always_breaks_at_one_place_is_left(server, get):
    broken = Resource(CONTENT, then=without_ranges(200_000))
    good = Resource(CONTENT)
    assert get(server.add("/broken", broken), server.add("/good", good)) == CONTENT
    assert (len(broken.requests), len(good.requests)) == (4, 1)  # the first brings bytes, three do not


@pytest.mark.parametrize("step", [whole, unchecked], ids=["if-range", "no if-range"])
def test_file_that_changed_between_attempts_starts_over(server, get, step):
    resource = Resource(CONTENT)

    def change(handler: Handler, resource: Resource) -> None:
        resource.content, resource.etag = OTHER, '"v2"'
        step(handler, resource)

    resource.steps = [cut(100_000), change]
    assert get(server.add("/set.zip", resource)) == OTHER
    assert resource.ranges[:2] == [None, "bytes=100000-"]


def test_without_validators_only_a_digest_allows_to_resume(server, get, tmp_path):
    resource = Resource(CONTENT, cut(100_000), etag=None)
    assert get(server.add("/set.zip", resource)) == CONTENT
    assert resource.ranges == [None, None]
    (tmp_path / "set.zip").unlink()
    resource = Resource(CONTENT, cut(100_000), etag=None)
    assert get(server.add("/set.zip", resource), sha256=sha256(CONTENT)) == CONTENT
    assert resource.ranges == [None, "bytes=100000-"]


def test_a_file_joined_from_two_versions_is_downloaded_again(server, get):
    resource = Resource(OTHER, cut(100_000), etag=None)
    url = server.add("/set.zip", resource)

    def change(handler: Handler, resource: Resource) -> None:
        resource.content = CONTENT
        send(handler, resource)

    resource.steps.append(change)
    assert get(url, sha256=sha256(CONTENT), size=len(CONTENT)) == CONTENT
    assert resource.ranges == [None, "bytes=100000-", None]


def test_part_longer_than_the_file_starts_over(server, get):
    resource = Resource(CONTENT, cut(200_000), etag=None)

    def shrink(handler: Handler, resource: Resource) -> None:
        resource.content = CONTENT[:1000]
        send(handler, resource)

    resource.steps.append(shrink)
    assert get(server.add("/set.zip", resource), sha256=sha256(CONTENT[:1000])) == CONTENT[:1000]
    assert resource.ranges == [None, "bytes=200000-", None]


def test_busy_server_is_asked_again(server, get, waits):
    resource = Resource(CONTENT, *[status(503)] * 3)
    assert get(server.add("/set.zip", resource), backoff=2.0, attempts=4) == CONTENT
    assert waits == [2.0, 4.0, 8.0]


def test_retry_after_is_honoured_up_to_the_cap(server, get, waits):
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    steps = [status(429, Retry_After="7"), status(503, Retry_After=later), status(503, Retry_After="99999")]
    assert get(server.add("/set.zip", Resource(CONTENT, *steps)), attempts=9, longest_wait=60.0) == CONTENT
    assert waits[0] == 7
    assert 25 < waits[1] <= 30
    assert waits[2] == 60


@pytest.mark.parametrize(
    ("bad", "requests"),
    [
        (status(503), 3),
        (status(404), 1),
        (status(403), 1),
        (body(b"", Content_Length="0"), 3),
        (body(b""), 3),
        (body(OTHER, Content_Length=str(len(OTHER))), 1),
        (body(b"", Content_Length=str(len(CONTENT) - 1)), 1),
        (body(CONTENT + b"!"), 1),
        (body(b"1000\r\nbroken in its first chunk", Transfer_Encoding="chunked"), 4),
        (lambda handler, resource: None, 3),
    ],
    ids=["503", "404", "403", "empty", "nothing", "digest", "size", "long", "chunk", "silent"],
)
def test_bad_address_gives_way_to_its_mirror(server, get, bad, requests):
    first, second = Resource(CONTENT, then=bad), Resource(CONTENT)
    urls = [server.add("/first.zip", first), server.add("/second.zip", second)]
    assert get(*urls, sha256=sha256(CONTENT), size=len(CONTENT)) == CONTENT
    assert (len(first.requests), len(second.requests)) == (requests, 1)


@pytest.mark.parametrize(
    "page",
    [
        body(b"\xef\xbb\xbf\r\n<!DOCTYPE html><p>Log in", Content_Type="application/zip"),
        body(b"<HTML lang=en>Log in"),
        body(b"<p>Quota exceeded", Content_Type="text/html; charset=utf-8"),
    ],
)
def test_page_in_place_of_the_file_gives_way_to_the_mirror(server, get, page):
    first = Resource(CONTENT, then=page)
    assert get(server.add("/first.zip", first), server.add("/second.zip", Resource(CONTENT))) == CONTENT
    assert len(first.requests) == 1


def test_body_without_end_is_left(server, get):
    sent = 0

    def pour(handler: Handler, resource: Resource) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            while sent < 50_000_000:
                sent += handler.connection.send(bytes(1 << 16))

    urls = [server.add("/pours", Resource(CONTENT, then=pour)), server.add("/works", Resource(CONTENT))]
    assert get(*urls, size=len(CONTENT)) == CONTENT
    assert sent < 50_000_000


def test_unknown_host_is_not_asked_again(server, get, monkeypatch):
    asked = []
    real = download.urllib.request.urlopen

    def urlopen(request: urllib.request.Request, timeout: float) -> object:
        asked.append(request.host)
        if request.host == "nowhere.invalid":
            raise urllib.error.URLError(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
        return real(request, timeout=timeout)

    monkeypatch.setattr(download.urllib.request, "urlopen", urlopen)
    assert get("https://nowhere.invalid/set.zip", server.add("/set.zip", Resource(CONTENT))) == CONTENT
    assert asked.count("nowhere.invalid") == 1


def test_hanging_server_gives_way_to_its_mirror(server, get):
    release = threading.Event()

    def hang(handler: Handler, resource: Resource) -> None:
        release.wait(10)

    urls = [server.add("/hangs", Resource(CONTENT, then=hang)), server.add("/works", Resource(CONTENT))]
    try:
        assert get(*urls, timeout=0.1, attempts=2) == CONTENT
    finally:
        release.set()


def test_nobody_listening_gives_way_to_the_mirror(server, get):
    with Server() as gone:
        dead = gone.add("/set.zip", Resource(CONTENT))
    assert get(dead, server.add("/set.zip", Resource(CONTENT)), attempts=2) == CONTENT


def test_redirect_keeps_the_range(server, get):
    real = Resource(CONTENT, cut(1000))
    location = server.add("/real", real)
    assert get(server.add("/set.zip", Resource(b"", then=status(302, Location=location)))) == CONTENT
    assert real.ranges == [None, "bytes=1000-"]


def test_when_all_fail_the_error_lists_each_and_the_next_run_resumes(server, get, tmp_path):
    wrong = Resource(OTHER)
    breaks = Resource(CONTENT, cut(100_000), then=status(500))
    urls = [server.add("/wrong", wrong), server.add("/breaks", breaks), str(tmp_path / "nothing.zip")]
    with pytest.raises(DownloadError) as caught:
        get(*urls, sha256=sha256(CONTENT))
    message = str(caught.value)
    assert f"{urls[0]}: has sha256 {sha256(OTHER)}, not {sha256(CONTENT)}" in message
    assert f"{urls[1]}: HTTP 500 Internal Server Error (3 attempts)" in message
    assert f"{urls[2]}: no such file" in message
    assert str(tmp_path / "set.zip") in message
    breaks.then = whole
    assert get(*urls, sha256=sha256(CONTENT)) == CONTENT
    assert breaks.ranges[-1] == "bytes=100000-"


@pytest.mark.parametrize("address", [str, Path.as_uri], ids=["path", "file"])
def test_local_copy(tmp_path, get, address):
    mine = tmp_path / "my copy.zip"
    mine.write_bytes(CONTENT)
    assert get(address(mine), sha256=sha256(CONTENT), size=len(CONTENT)) == CONTENT
    assert mine.read_bytes() == CONTENT


def test_bad_local_copies(tmp_path, get):
    mine = tmp_path / "mine.zip"
    mine.write_bytes(OTHER)
    with pytest.raises(DownloadError, match=r"mine\.zip: has sha256 .*(\n.*)*is a folder"):
        get(str(mine), str(tmp_path), sha256=sha256(CONTENT))
    assert mine.read_bytes() == OTHER


def test_file_supplied_by_hand_is_checked_and_kept(server, tmp_path):
    target = tmp_path / "set.zip"
    target.write_bytes(CONTENT)
    resource = Resource(CONTENT)
    url = server.add("/set.zip", resource)
    assert fetch([url], target, sha256=None, size=None, state=tmp_path / "state") == sha256(CONTENT)
    with pytest.raises(ValueError, match=r"set\.zip has sha256 .* delete it"):
        fetch([url], target, sha256=sha256(OTHER), size=None, state=tmp_path / "state")
    with pytest.raises(ValueError, match=r"has 300000 bytes, not 5"):
        fetch([url], target, sha256=None, size=5, state=tmp_path / "state")
    assert target.read_bytes() == CONTENT
    assert resource.requests == []


@pytest.mark.parametrize(
    ("urls", "digest", "message"),
    [
        ([], None, "no address"),
        (["ftp://example.org/set.zip"], None, "ftp://example.org/set.zip: not an address"),
        (["https:///set.zip"], None, "not an address"),
        (["set.zip"], "abc", "64 hexadecimal"),
    ],
)
def test_bad_arguments(tmp_path, urls, digest, message):
    with pytest.raises(ValueError, match=message):
        fetch(urls, tmp_path / "set.zip", sha256=digest, size=None, state=tmp_path / "state")


def test_full_disk_is_told_before_the_download(server, get, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match="no room in"):
        get(server.add("/set.zip", Resource(CONTENT)))


def test_progress_is_logged(server, get, monkeypatch, caplog):
    monkeypatch.setattr(download, "REPORT_EVERY", 0.0)
    with caplog.at_level(logging.INFO, logger="bspa"):
        get(server.add("/set.zip", Resource(CONTENT)))
    assert "set.zip: 300 kB of 300 kB, 0.0 min left, " in caplog.text


CHILD = """
import sys
from bspa.data.fetch import fetch
print(fetch([sys.argv[1]], sys.argv[2], sha256=None, size=None, state=sys.argv[3], timeout=20))
"""


def start_child(url: str, tmp_path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, url, str(tmp_path / "set.zip"), str(tmp_path / "state")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "waited for 10 s in vain"
        time.sleep(0.01)


def test_killed_process_is_continued_by_the_next(server, get, tmp_path):
    release = threading.Event()

    def stall(handler: Handler, resource: Resource) -> None:
        send(handler, resource, limit=1000)
        handler.wfile.flush()
        release.wait(10)

    resource = Resource(CONTENT, stall)
    url = server.add("/set.zip", resource)
    child = start_child(url, tmp_path)
    try:
        wait_for(lambda: sum(part.stat().st_size for part in tmp_path.glob("state/*.part")) == 1000)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        release.set()
    assert not (tmp_path / "set.zip").exists()
    assert get(url) == CONTENT
    assert resource.ranges == [None, "bytes=1000-"]


def test_process_killed_after_the_last_byte_asks_for_nothing(server, get, monkeypatch):
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    resource = Resource(CONTENT)
    url = server.add("/set.zip", resource)
    with monkeypatch.context() as patch:
        patch.setattr(download, "_verify", interrupt)
        with pytest.raises(KeyboardInterrupt):
            get(url)
    assert get(url) == CONTENT
    assert resource.ranges == [None]


def test_two_processes_download_once(server, tmp_path):
    both = threading.Event()

    def slow(handler: Handler, resource: Resource) -> None:
        both.wait(10)
        send(handler, resource)

    resource = Resource(CONTENT, then=slow)
    url = server.add("/set.zip", resource)
    children = [start_child(url, tmp_path) for _ in range(2)]
    wait_for(lambda: resource.requests)
    time.sleep(0.3)  # the second one reaches the lock
    both.set()
    outputs = [child.communicate(timeout=20)[0].strip() for child in children]
    assert outputs == [sha256(CONTENT)] * 2
    assert resource.ranges == [None]
    assert (tmp_path / "set.zip").read_bytes() == CONTENT
