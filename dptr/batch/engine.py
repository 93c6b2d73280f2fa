"""Ray: the blocks of a job, done by a pool of processes that each hold the model.

Only numbers of blocks and what became of them travel through Ray; pictures and rows go between a worker and the stores.
So its object store stays empty, and a worker holds one block.
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

STORE = 200 << 20  # bytes of the object store of a cluster that is started here
CONNECT = 5.0  # seconds
MOST_TASKS = 10_000  # of Ray; where there are more blocks, a task does several


@dataclass(frozen=True)
class Pool:
    """Where the work is done, and by how many.

    Attributes:
        address: of a Ray cluster (``auto``, ``HOST:PORT``, ``ray://HOST:PORT``); empty = one is started on this machine
            and ended afterwards.
        workers: processes at most; 0 = as many as the CPUs (and GPUs) of the cluster hold.
        least: processes at least; between the two the pool follows the work.
        cpus: of each, which are its threads too.
        gpus: of each; a fraction shares one.
    """

    address: str = ""
    workers: int = 0
    least: int = 1
    cpus: int = 1
    gpus: float = 0.0


class BlockWorker:
    """An actor of Ray Data: opens the model, and does blocks. What goes wrong is told of the block and the machine."""

    def __init__(self, job: Job, work: Work) -> None:
        self._job, self._work = job, work
        self._do: Do | UserError
        try:
            self._do = work.open()
        except UserError as error:
            self._do = error

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        nothing: dict[str, Any] = {"inputs": 0, "rows": 0, "failures": 0, "reason": ""}
        held = [{**nothing, **asdict(self._try(int(block)))} for block in batch["item"]]
        return {name: [each[name] for each in held] for name in ("block", *nothing)}

    def _try(self, block: int) -> Record | Unfinished:
        if isinstance(self._do, UserError):
            return Unfinished(block, f"on {platform.node()}: {self._do}")
        try:
            return do_block(self._job, self._work, self._do, block)
        except Exception as error:  # a fault of dptr costs one block; Ray keeps the traceback in its logs
            traceback.print_exc()
            return Unfinished(block, f"on {platform.node()}: {type(error).__name__}: {one_line(error)}")


def run_blocks(job: Job, work: Work, blocks: Sequence[int], pool: Pool) -> Generator[Record | Unfinished, None, None]:
    """Do blocks, and yield what became of each, as it is done.

    Raises:
        UserError: no cluster at the address, too few resources, a worker cannot open its model, or Ray fails.
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
    """The arguments of ``map_batches`` that describe the actors of a pool of at most ``workers``."""
    from ray.data import ActorPoolStrategy

    least = min(pool.least, workers)
    first = least if pool.address else workers  # a machine has room for all at once
    compute = ActorPoolStrategy(min_size=least, max_size=workers, initial_size=first)
    return {"compute": compute, "num_cpus": pool.cpus, **({"num_gpus": pool.gpus} if pool.gpus else {})}


@contextmanager
def connect(pool: Pool) -> Iterator[int]:
    """Ray, started or connected to, and how many workers it holds; let go of at the end.

    Where this process is connected already, that connection is used and kept.

    Raises:
        UserError: see ``run_blocks``.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its C++ writes to standard error
    import ray

    if ray.is_initialized():
        yield count_workers(pool)
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if pool.address:
        check_address(pool.address)
        quiet["address"] = pool.address
    else:
        cores = pool.workers * pool.cpus if pool.workers else os.cpu_count() or 1
        quiet |= {"address": "local", "num_cpus": cores, "include_dashboard": False, "object_store_memory": STORE}
    try:
        with _silenced(), _signals_kept():
            ray.init(**quiet)
    except Exception as error:  # Ray raises a bare one where a node does not start in time
        ray.shutdown()
        if pool.address:
            problem = f"cluster {pool.address}: {one_line(error)}; check --address, and that the cluster is up"
        else:
            problem = f"Ray on this machine: {one_line(error)}; try again when it has less to do"
        raise UserError(problem) from error
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):  # where Ray tells of nodes that died
            yield count_workers(pool)
    finally:
        ray.shutdown()


@contextmanager
def explain() -> Iterator[None]:
    """What Ray raises becomes an error of one line; meanwhile it says nothing itself.

    Raises:
        UserError: whatever Ray raised.
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
def _signals_kept() -> Iterator[None]:
    """What SIGTERM does stays: Ray has it end the process without a word."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _silenced() -> Iterator[None]:
    """Standard error leads nowhere meanwhile, for programs in other languages too."""
    sys.stderr.flush()
    with open(os.devnull, "wb") as nowhere:
        kept = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


def _last_line(error: Exception) -> str:
    """The last line of what Ray raises, which is below the traceback of a worker."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:400] if lines else type(error).__name__


def count_workers(pool: Pool) -> int:
    """How many workers a pool has at most, on the cluster that this process is connected to.

    Raises:
        UserError: this machine holds less than one of them asks for.
    """
    import ray

    held = ray.cluster_resources()
    room = int(held.get("CPU", 0)) // pool.cpus
    if pool.gpus:
        room = min(room, int(held.get("GPU", 0) / pool.gpus + 1e-6))
    if room < 1 and not pool.address:
        raise UserError(
            f"this machine holds {held.get('CPU', 0):g} CPUs and {held.get('GPU', 0):g} GPUs, less than a worker asks "
            "for; lower --cpus-per-worker or --gpus-per-worker"
        )
    return pool.workers or max(room, 1)


def check_address(address: str) -> None:
    """Somebody listens at the address of a cluster; Ray itself would try for minutes.

    Raises:
        UserError: nobody does, or it is no address.
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
