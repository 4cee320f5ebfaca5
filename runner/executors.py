"""Where runs are done: in this process, in workers of this machine, or on a cluster, through Dask."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from asyncio import CancelledError
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dask import config as dask_config
from distributed import Client, KilledWorker, Nanny, Scheduler, SpecCluster, as_completed
from distributed.client import ClosedClientError
from distributed.comm.core import CommClosedError

from ..errors import InputError, invalid, require_known, require_whole
from .here import HERE, Executor
from .tasks import Outcome, execute, failed, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .here import Run
    from .tasks import Task

_JOB_OPTIONS = (
    "jobs", "cores", "memory", "walltime", "queue", "account", "job_extra_directives", "job_script_prologue",
    "interface", "local_directory", "log_directory", "python", "worker_extra_args",
)  # fmt: skip
"""Options of SLURM's jobs that a sweep's file may set."""

_LISTS = ("job_extra_directives", "job_script_prologue", "worker_extra_args")

_NO_PAGE = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
_UNSEEN = {"host": "127.0.0.1"} | _NO_PAGE
"""Options of servers that only this machine has to reach: whoever connects to one can run code through it."""

_PATIENCE = "10s"
"""Time that a scheduler has to answer."""

_DEATHS = 3
"""Workers that may die of one group before it counts as failed."""


@contextmanager
def local(workers: int | None = None, threads: int = 1, most: int | None = None) -> Iterator[Executor]:
    """Workers on this machine: one a GPU if there are any, else as many as the cores allow.

    Parameters
    ----------
    workers
        How many; one is this process itself.
    threads
        Threads of each run.
    most
        Groups of runs that there are to do: no more workers are started.
    """
    if workers == 1:
        yield HERE
        return
    import torch  # noqa: PLC0415 - counts GPUs

    gpus = torch.cuda.device_count()
    count = (gpus or max(1, _cores() // threads)) if workers is None else workers
    require_whole("workers", count, least=1, most=1024, example=2)
    count = count if most is None else min(count, max(1, most))
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    names = visible or [str(index) for index in range(gpus)]
    if count == 1:
        yield HERE
        return
    specs = {
        index: {
            "cls": Nanny,
            "options": {
                "nthreads": 1,
                "memory_limit": None,
                "silence_logs": logging.CRITICAL,
                **_UNSEEN,
                "env": {"CUDA_VISIBLE_DEVICES": names[index % gpus]} if gpus else {},
            },
        }
        for index in range(count)
    }
    scheduler = {"cls": Scheduler, "options": dict(_UNSEEN)}
    with (
        _configured(threads),
        SpecCluster(workers=specs, scheduler=scheduler, silence_logs=logging.CRITICAL) as cluster,
        Client(cluster) as client,
    ):
        yield _executor(client, count, f"in {count} processes of {threads} thread{'s' * (threads > 1)}")


@contextmanager
def scheduler(address: str, folder: Path) -> Iterator[Executor]:
    """Workers of a Dask scheduler that is running; they must see the folder of the results.

    Raises
    ------
    InputError
        If the scheduler does not answer, has no workers, or a worker does not see the folder.
    """
    try:
        client = Client(address, timeout=_PATIENCE)
    except (OSError, ValueError, TypeError, TimeoutError) as error:
        raise invalid(
            "scheduler", address, accepted="the address of a running one, such as tcp://host:8786",
            remedy=f"start one with dask scheduler ({type(error).__name__})",
        ) from error  # fmt: skip
    with _configured(), client:
        threads = [one["nthreads"] for one in _workers(client).values()]
        count = len(threads)
        if not count:
            raise invalid("workers", 0, accepted="at least 1", remedy=f"start one: dask worker {address}")
        if max(threads) > 1:
            raise invalid(
                "threads of a Dask worker", max(threads), accepted="1, since runs share a process's settings",
                remedy="start it with --nthreads 1",
            )  # fmt: skip
        _require_shared(client, folder)
        yield _executor(client, count, f"on {count} workers of {address}")


@contextmanager
def slurm(options: Mapping[str, Any], folder: Path) -> Iterator[Executor]:
    """Workers that are jobs of SLURM, through dask-jobqueue, one run at a time in each.

    Raises
    ------
    InputError
        As for `slurm_cluster`, or if the workers do not see the folder.
    """
    if shutil.which("sbatch") is None:
        raise invalid(
            "cluster",
            "slurm",
            accepted="a machine with sbatch",
            remedy="run it on the login node, or use --scheduler",
        )
    cluster, jobs = slurm_cluster(options)
    with _configured(), cluster, Client(cluster) as client:
        cluster.scale(jobs=jobs)
        client.wait_for_workers(1)
        _require_shared(client, folder)
        yield _executor(client, jobs, f"in {jobs} SLURM jobs")


def slurm_cluster(options: Mapping[str, Any]) -> tuple[Any, int]:
    """The cluster and its number of jobs.

    Parameters
    ----------
    options
        `jobs`; `cores` of each, for the threads of its one run; and what `dask_jobqueue.SLURMCluster` takes:
        queue, account, memory, walltime, job_extra_directives, job_script_prologue.

    Raises
    ------
    InputError
        If dask-jobqueue is not installed, or refuses the options.
    """
    try:
        from dask_jobqueue import SLURMCluster  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise invalid(
            "package", "dask-jobqueue", accepted="an installed one",
            remedy="pip install 'superconsistency[slurm]'",
        ) from error  # fmt: skip
    for name, value in options.items():
        require_known("option of the cluster", name, _JOB_OPTIONS)
        listed = isinstance(value, list) and all(isinstance(one, str) for one in value)
        if name in _LISTS and not listed:
            raise invalid(f"cluster {name}", value, accepted="a list of texts", remedy='write ["..."]')
    settings: dict[str, Any] = {"cores": 1, "memory": "8GB", "walltime": "04:00:00"} | dict(options)
    jobs = settings.pop("jobs", 1)
    require_whole("jobs", jobs if isinstance(jobs, int) else -1, least=1, most=10**5, example=8)
    cores = settings.pop("cores")
    require_whole("cores", cores if isinstance(cores, int) else -1, least=1, most=1024, example=4)
    prologue = [*_exports(_environment(cores)), *settings.pop("job_script_prologue", [])]
    try:
        cluster = SLURMCluster(
            cores=1,  # of Dask: runs that a job does at once
            processes=1,
            job_cpu=cores,
            job_script_prologue=prologue,
            scheduler_options=dict(_NO_PAGE),
            **settings,
        )
    except (TypeError, ValueError, RuntimeError) as error:
        raise invalid(
            "cluster", dict(options), accepted="options of dask_jobqueue.SLURMCluster",
            remedy=f"correct them ({' '.join(str(error).split())[:120]})",
        ) from error  # fmt: skip
    return cluster, jobs


def _executor(client: Client, count: int, words: str) -> Executor:
    return Executor(_on(client), count, words, lambda: len(_workers(client)))


def _workers(client: Client) -> dict[str, Any]:
    """What the scheduler says of its workers, by address; what it said last where it does not answer."""
    found: dict[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
    return found


def _on(client: Client) -> Run:
    """Return what does groups on a client's workers, one on each; the rest wait here for a free one."""

    def run(tasks: Sequence[Task]) -> Iterator[Outcome]:
        waiting = iter(tasks)
        known: dict[str, Task] = {}
        done = as_completed(raise_errors=False)

        def send() -> None:
            """Submit tasks until every worker that is there now has one."""
            room = max(1, len(_workers(client)))
            for task in islice(waiting, max(0, room - len(known))):
                name = f"run-{task.key}-{secrets.token_hex(4)}"
                known[name] = task
                done.add(client.submit(execute, task, key=name, pure=False))

        try:
            send()
            for future in done:
                yield _outcome(future, known.pop(future.key))
                send()
        except (ClosedClientError, CommClosedError, CancelledError) as error:
            raise invalid(
                "scheduler",
                "lost",
                accepted="one that stays",
                remedy="start it again; complete runs are kept",
            ) from error
        finally:
            with suppress(Exception):  # the client may be gone
                client.cancel(list(done.futures), force=True)

    return run


def _outcome(future: Any, task: Task) -> Outcome:
    """Outcome of a finished task: a group whose workers die has failed; errors of writing are raised."""
    if future.cancelled():
        raise CancelledError
    error = future.exception()
    if error is None:
        result: Outcome = future.result()
        return result
    if isinstance(error, KilledWorker):
        return failed(task, f"{_DEATHS + 1} workers that did it died: out of memory, or killed")
    if isinstance(error, InputError | OSError):
        raise error
    return failed(task, reason_of(error))


def _require_shared(client: Client, folder: Path) -> None:
    """`InputError` unless every worker sees what is written to the folder here."""
    token = folder / f".seen-{secrets.token_hex(8)}"
    folder.mkdir(parents=True, exist_ok=True)
    token.touch()
    try:
        seen = client.run(os.path.exists, str(token.resolve()))
    finally:
        token.unlink()
    blind = [worker for worker, sees in seen.items() if not sees]
    if blind:
        raise invalid(
            "folder of the results", str(folder), accepted=f"one that every worker sees; {blind[0]} does not",
            remedy="pass an --output on a file system that they share",
        )  # fmt: skip


def _environment(threads: int) -> dict[str, str]:
    """Variables of a worker: its threads do not fight with those of others, and it keeps freed memory.

    Dask does tasks in a further thread, where the latter takes one arena for all threads.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    return dict.fromkeys(names, str(threads)) | {"MALLOC_ARENA_MAX": "1"}


def _exports(variables: Mapping[str, str]) -> list[str]:
    return [f"export {name}={value}" for name, value in variables.items()]


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _configured(threads: int = 1) -> Iterator[None]:
    """Configure Dask without its limits on memory, which stop runs that the machine could do.

    The environment of workers on this machine is set too: it has to be there when they start.
    """
    changed = {
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.scheduler.allowed-failures": _DEATHS,
        "distributed.nanny.pre-spawn-environ": _environment(threads),
    }
    with dask_config.set(changed):
        yield
