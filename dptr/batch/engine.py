"""Process the blocks of a job with a pool of Ray actors, each of which has the model open.

Only block numbers and their results' counts pass through Ray. Each worker reads pictures and writes rows itself. Ray's
object store therefore stays almost empty, and a worker has one block in memory at a time.
"""

from __future__ import annotations

import logging
import os
import platform
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dptr.batch.blocks import Job, Record, Unfinished
from dptr.batch.work import Do, Work, do_block
from dptr.utils.errors import UserError, one_line

STORE = 200 << 20  # bytes; the object store of a cluster that is started here
CONNECT = 5.0  # seconds; the timeout of a connection to a cluster
MOST_TASKS = 10_000  # Ray tasks; if there are more blocks, a task processes several


@dataclass(frozen=True)
class Pool:
    """The cluster, and the processes that work on it.

    Attributes:
        address: a Ray cluster (``auto``, ``HOST:PORT``, ``ray://HOST:PORT``); empty = start one on this machine and
            stop it afterwards.
        workers: largest number of processes; 0 = as many as the CPUs (and GPUs) of the cluster allow.
        least: smallest number of processes. The size of the pool follows the work.
        cpus: CPUs of each process; this is also its number of threads.
        gpus: GPUs of each process; a fraction shares a GPU.
    """

    address: str = ""
    workers: int = 0
    least: int = 1
    cpus: int = 1
    gpus: float = 0.0


class BlockWorker:
    """An actor of Ray Data that opens the model and processes blocks. Errors name the block and the machine."""

    def __init__(self, job: Job, work: Work) -> None:
        self._job, self._work = job, work
        self._do: Do | UserError
        try:
            self._do = work.open()
        except UserError as error:
            self._do = error

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        defaults: dict[str, Any] = {"inputs": 0, "rows": 0, "failures": 0, "reason": ""}
        rows = [{**defaults, **asdict(self._process(int(block)))} for block in batch["item"]]
        return {name: [row[name] for row in rows] for name in ("block", *defaults)}

    def _process(self, block: int) -> Record | Unfinished:
        if isinstance(self._do, UserError):
            return Unfinished(block, f"on {platform.node()}: {self._do}")
        try:
            return do_block(self._job, self._work, self._do, block)
        except Exception as error:  # a bug in dptr fails one block only; Ray logs the traceback
            traceback.print_exc()
            return Unfinished(block, f"on {platform.node()}: {type(error).__name__}: {one_line(error)}")


def run_blocks(job: Job, work: Work, blocks: Sequence[int], pool: Pool) -> Generator[Record | Unfinished, None, None]:
    """Process blocks, and yield the outcome of each as soon as it is known.

    Raises:
        UserError: there is no cluster at the address, a worker needs more CPUs or GPUs than this machine has, or Ray
            fails.
    """
    if not blocks:
        return
    with connect(pool) as workers, explain():
        from ray.data import from_items

        dataset = from_items([*blocks], override_num_blocks=min(len(blocks), MOST_TASKS)).map_batches(
            BlockWorker, fn_constructor_args=(job, work), batch_size=1, **resources(pool, min(workers, len(blocks)))
        )
        for row in dataset.iter_rows():
            if row["reason"]:
                yield Unfinished(row["block"], row["reason"])
            else:
                yield Record(row["block"], row["inputs"], row["rows"], row["failures"])


def resources(pool: Pool, workers: int) -> dict[str, Any]:
    """The arguments of ``map_batches`` for a pool of at most ``workers`` actors."""
    from ray.data import ActorPoolStrategy

    least = min(pool.least, workers)
    first = least if pool.address else workers  # this machine can start all of them at once
    compute = ActorPoolStrategy(min_size=least, max_size=workers, initial_size=first)
    return {"compute": compute, "num_cpus": pool.cpus, **({"num_gpus": pool.gpus} if pool.gpus else {})}


@contextmanager
def connect(pool: Pool) -> Iterator[int]:
    """Start Ray or connect to it, yield the largest number of workers, and disconnect afterwards.

    An existing connection of this process is used instead, and stays open.

    Raises:
        UserError: Ray does not start, there is no cluster at the address, or a worker needs more than this machine has.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage statistics are sent
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # Ray's C++ code writes to standard error
    import ray

    if ray.is_initialized():
        yield count_workers(pool)
        return
    arguments: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if pool.address:
        check_address(pool.address)
        arguments["address"] = pool.address
    else:
        cores = pool.workers * pool.cpus if pool.workers else os.cpu_count() or 1
        arguments |= {"address": "local", "num_cpus": cores, "include_dashboard": False, "object_store_memory": STORE}
    try:
        with _silence_stderr(), _keep_sigterm():
            ray.init(**arguments)
    except Exception as error:  # Ray raises a plain Exception if a node does not start in time
        ray.shutdown()
        if pool.address:
            problem = f"cluster {pool.address}: {one_line(error)}; check --address, and that the cluster is up"
        else:
            problem = f"Ray on this machine: {one_line(error)}; try again when it has less to do"
        raise UserError(problem) from error
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):  # Ray prints messages about dead nodes
            yield count_workers(pool)
    finally:
        ray.shutdown()


@contextmanager
def explain() -> Iterator[None]:
    """Turn errors of Ray into one line, and silence Ray's own messages in the ``with`` block.

    Raises:
        UserError: Ray raised an error.
    """
    import ray
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    except ray.exceptions.RayError as error:
        raise UserError(f"Ray: {_last_line(error)}") from error
    finally:
        logger.setLevel(level)


@contextmanager
def _keep_sigterm() -> Iterator[None]:
    """Restore the SIGTERM handler at the end. Ray installs one that ends the process silently."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _silence_stderr() -> Iterator[None]:
    """Redirect file descriptor 2 to the null device. This silences child processes and C++ code too."""
    sys.stderr.flush()
    with open(os.devnull, "wb") as nowhere:
        saved = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)


def _last_line(error: Exception) -> str:
    """The last line of an error of Ray, at most 400 characters. The lines above it are a worker's traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:400] if lines else type(error).__name__


def count_workers(pool: Pool) -> int:
    """The largest number of workers of a pool on the connected cluster.

    Raises:
        UserError: a worker needs more CPUs or GPUs than this machine has.
    """
    import ray

    available = ray.cluster_resources()
    fitting = int(available.get("CPU", 0)) // pool.cpus
    if pool.gpus:
        fitting = min(fitting, int(available.get("GPU", 0) / pool.gpus + 1e-6))
    if fitting < 1 and not pool.address:
        raise UserError(
            f"this machine holds {available.get('CPU', 0):g} CPUs and {available.get('GPU', 0):g} GPUs, less than a "
            "worker asks for; lower --cpus-per-worker or --gpus-per-worker"
        )
    return pool.workers or max(fitting, 1)


def check_address(address: str) -> None:
    """Check that a server listens at a cluster's address; Ray itself would retry for minutes.

    Raises:
        UserError: no server listens within ``CONNECT`` seconds, or the address is malformed.
    """
    if address in ("", "auto"):
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        raise UserError(f"--address {address}: write auto, HOST:PORT, or ray://HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"cluster {address}: cannot be reached ({one_line(error)}); check --address, and that the cluster is up"
        ) from error
