"""A job of several processes, one on each device; the first is the job itself, the others follow it.

The job's own process gets the signals, writes the log and the files, and tells the others when to stop. They
end when it ends, however it ends. They find each other through a file in a temporary folder, and talk through
torch.distributed: NCCL between GPUs, Gloo on a CPU.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

from bspa.system.devices import prepare_device

log = logging.getLogger("bspa")

Devices = Sequence[torch.device]
GRACE_SECONDS = 10.0
"""How long the first process may take to fail by itself after another one has failed."""
FOREVER = timedelta(days=365)
"""Others wait while the first one validates and saves; a failure is noticed otherwise."""
LOOPBACK = {"linux": "lo", "darwin": "lo0"}


@contextlib.contextmanager
def start_followers(work: Callable[[int, Devices], object], devices: Devices) -> Iterator[None]:
    """Run ``work(number, devices)`` beside the block in a process for each device after the first.

    Args:
        work: the same as the block does as number 0; it is pickled.
        devices: one for each process.

    Raises:
        ChildProcessError: a process failed. Where this one waits for it on a GPU, it ends with status 1.
    """
    if len(devices) == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="bspa-", ignore_cleanup_errors=True) as folder:
        ended = threading.Event()
        followers = _start(work, devices, Path(folder))
        for follower in followers:
            threading.Thread(target=follower.watch, args=(ended,), daemon=True).start()
        try:
            _join(0, devices, folder)
            yield
            distributed.destroy_process_group()
            for follower in followers:
                follower.process.wait()
        except RuntimeError as error:  # as of a lost connection
            if failures := _failures(followers):
                raise ChildProcessError("; ".join(failures)) from error
            raise
        finally:
            ended.set()
            for follower in followers:
                follower.process.kill()
                follower.process.communicate()


class _Follower:
    """A process that runs `follow`; its stdin stays open as long as this process lives."""

    def __init__(self, number: int, devices: Devices, folder: Path):
        self.number, self._count, self._output = number, len(devices), folder / f"{number}.log"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-P", "-c", "from bspa.system.processes import follow; follow()"]
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=output, stderr=output
            )

    def failure(self) -> str:
        """Say how it failed, with the last that it said."""
        said = self._output.read_text(encoding="utf-8", errors="replace").strip()
        which = f"process {self.number + 1} of {self._count}"
        return f"{which} ended with status {self.process.returncode}: {said}"

    def watch(self, ended: threading.Event) -> None:
        """End this process if the other fails and this one does not notice: NCCL would wait for ever."""
        if self.process.wait() and not ended.wait(GRACE_SECONDS):
            log.error("error: %s", self.failure())
            os._exit(1)


def _start(work: Callable[[int, Devices], object], devices: Devices, folder: Path) -> list[_Follower]:
    # Ctrl-C and cluster managers signal every process of a job. Followers inherit the mask, and never see it.
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        followers = [_Follower(number, devices, folder) for number in range(1, len(devices))]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
    for follower in followers:
        assert follower.process.stdin
        task = (follower.number, list(devices), str(folder), torch.get_num_threads(), work)
        pickle.dump(task, follower.process.stdin)
        follower.process.stdin.flush()
    return followers


def _failures(followers: Sequence[_Follower]) -> list[str]:
    """Wait until one has ended, as its connection breaks before that; describe those that failed."""
    limit = time.monotonic() + GRACE_SECONDS / 2
    while all(follower.process.poll() is None for follower in followers) and time.monotonic() < limit:
        time.sleep(0.05)
    return [follower.failure() for follower in followers if follower.process.poll()]


def follow() -> None:
    """Be one of the other processes: get the work from the first one, do it, and end with it."""
    number, devices, folder, threads, work = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_first, daemon=True).start()
    torch.set_num_threads(threads)
    prepare_device(devices[number])
    _join(number, devices, folder)
    with contextlib.suppress(SystemExit):  # the first process has told all to stop
        work(number, devices)
        distributed.destroy_process_group()


def _end_with_first() -> None:
    os.read(0, 1)  # returns when the first process has closed its end, or the system has
    os._exit(1)


def _join(number: int, devices: Devices, folder: str) -> None:
    on_gpu = devices[0].type == "cuda"
    if not on_gpu and sys.platform in LOOPBACK:  # else Gloo asks which network the host's name belongs to
        os.environ.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK[sys.platform])
    distributed.init_process_group(
        "nccl" if on_gpu else "gloo",
        store=distributed.FileStore(f"{folder}/store", len(devices)),  # type: ignore[attr-defined]
        rank=number,
        world_size=len(devices),
        timeout=FOREVER,
    )
