"""Runs of several subjects on a cluster of Ray (https://docs.ray.io): a run is a task.

Ray places it, starts it again where a worker or a node is lost, and brings back what it wrote.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError, RayTaskError

from bn1d_conformance.bounded import printable
from bn1d_conformance.running import single
from bn1d_conformance.running.single import Ended
from bn1d_conformance.subject import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bn1d_conformance.running.several import Run

PATIENCE = 10  # seconds, for a cluster to take a connection
#: Of a cluster that is started: it reports to nobody, and its runs are not behind everything else
#: of the machine, as Ray's are by default, and slow enough there to be taken for hanging.
ITS_OWN = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
RETRIES = 3  # of a run whose worker or node is lost; Ray's own default


@contextmanager
def engine(jobs: int, device: str) -> Iterator[Run]:
    """Join the cluster of RAY_ADDRESS, or start one here; yields what runs a command on it.

    Args:
        jobs: CPUs of a cluster that is started.
        device: where subjects compute; on "cuda" each has a GPU for itself.

    Raises:
        TargetError: if the cluster doesn't answer, or has no GPU where one is needed.
    """
    # what Ray says of a lost worker or node goes to standard output: a row says it
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        _connect(jobs)
        try:
            yield _runs(int(device.startswith("cuda")))
        finally:
            ray.shutdown()


def _runs(gpus: int) -> Run:
    """What runs a command as a task that needs so many GPUs."""
    if gpus and not ray.cluster_resources().get("GPU"):  # it would wait for ever
        raise TargetError("The cluster has no GPU.", "ray status shows what it has.")
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_task)
    folder = str(Path.cwd())

    async def run(words: Sequence[str], limit: float) -> Ended:
        return await _ended(task.remote(words, limit, folder))

    return run


def _connect(jobs: int) -> None:
    """Join the cluster, or start one; Ray says nothing here, and nothing to anybody else."""
    address = os.environ.get("RAY_ADDRESS", "")
    here: dict[str, Any] = {"address": "local", "num_cpus": jobs, "include_dashboard": False}
    os.environ.update(ITS_OWN)
    try:
        _knock(address)
        ray.init(log_to_driver=False, logging_level="CRITICAL", **({} if address else here))
    except (OSError, RuntimeError, ValueError, RayError) as error:
        said = printable(str(error).partition("\n")[0])[:300].rstrip(".")
        place = "RAY_ADDRESS can't be reached" if address else "A cluster can't be started here"
        raise TargetError(f"{place}: {said}.", "Without RAY_ADDRESS it is started here.") from None


def _knock(address: str) -> None:
    """Find out at once, and not after minutes of warnings, that nobody is at HOST:PORT."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()


def _task(words: Sequence[str], limit: float, folder: str) -> Ended:
    """Run on a node; in the folder where the command was given, if the node has it."""
    if sys.platform != "win32":  # ignored by workers whose children Ray reaps: none is waited for
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return asyncio.run(single.run(words, limit, folder if Path(folder).is_dir() else None))


async def _ended(task: Any) -> Ended:
    """Wait for what a task returns; where Ray gives it up, say why."""
    try:
        ended: Ended = await task
    except RayTaskError as error:
        return Ended(f"Its run could not be started: {printable(error.cause)[:200]}.")
    except RayError as error:
        return Ended(f"Ray gave its run up: {type(error).__name__}.")
    return ended
