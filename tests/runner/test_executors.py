"""The same sweep in one process, in several, and on a Dask scheduler whose workers die."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from superconsistency import open_results
from superconsistency.cli import main
from superconsistency.errors import InputError
from superconsistency.runner import (
    HERE,
    DataChoice,
    Executor,
    LatentModel,
    NetworkModel,
    local,
    make_plan,
    make_sweep,
    scheduler,
    slurm_cluster,
)

from .grids import LATENT, THIRTY_SIX, files, finished, same_bits, written

QUIET = {"OMP_NUM_THREADS": "1", "DASK_DISTRIBUTED__WORKER__MEMORY__TARGET": "False"}


@pytest.fixture
def address() -> Iterator[str]:
    """A Dask scheduler on the loopback device."""
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
               "--no-dashboard"]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        found = None
        while found is None:
            line = process.stderr.readline()
            assert line, "the scheduler ended"
            found = re.search(r"Scheduler at:\s+(tcp://\S+)", line)
        yield found[1]
        process.terminate()
        process.stderr.read()


def worker(address: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny",
               "--no-dashboard"]  # fmt: skip
    return subprocess.Popen(command, stdout=-3, stderr=-3, env=os.environ | QUIET)


def sweep(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["sweep", *arguments])
    return int(stop.value.code or 0)


def test_a_sweep_on_a_scheduler_one_of_whose_two_workers_is_killed_gives_the_same_bits(
    address: str, tmp_path: Path
) -> None:
    grid, folder = written(tmp_path, THIRTY_SIX), tmp_path / "distributed"
    workers = [worker(address), worker(address)]
    command = [sys.executable, "-m", "superconsistency", "sweep", str(grid), "--output", str(folder),
               "--scheduler", address]  # fmt: skip
    try:
        _wait_for_workers(address, 2)
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            until = time.monotonic() + 120
            while len(files(folder)) < 3 and process.poll() is None and time.monotonic() < until:
                time.sleep(0.02)
            workers[0].send_signal(signal.SIGKILL)
            had = len(files(folder))
            _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert had < 10, "of 12 groups"
        assert "on 2 workers" in err
    finally:
        for one in workers:
            one.kill()
            one.wait()
    alone = tmp_path / "alone"
    assert sweep(str(grid), "--output", str(alone), "--workers", "1") == 0
    assert same_bits(open_results(folder).load(), open_results(alone).load())


RUN = ("steps=4", "measure_every=2", "hessian_examples=8", "evaluation_examples=16")
DIGITS = DataChoice("digits", examples=64)
NETWORKS = {
    "architecture": "mlp",
    "batch_size": 16,
    "width": [4, 8],
    "learning_rate": [0.1, 0.2],
    "seed": [0, 1],
}
MODELS: dict[str, tuple[Any, dict[str, Any], int]] = {
    "stacked networks": (NetworkModel(RUN, DIGITS, stacked=True), NETWORKS, 4),
    "networks one by one": (NetworkModel(RUN, DIGITS, stacked=False), NETWORKS, 8),
    "latent systems": (
        LatentModel(dimension=4, steps=20),
        {"parametrization": ["mup", "ntp"], "width": [8, 64], "learning_rate": [0.2, 0.4], "seed": [0, 1]}, 4,
    ),
}  # fmt: skip
"""By name: a model, its grid, and the number of its groups."""


@pytest.fixture(scope="module")
def two_processes() -> Iterator[Executor]:
    with local(2) as executor:
        yield executor


@pytest.mark.parametrize("name", MODELS)
def test_one_process_two_and_a_dask_scheduler_give_the_same_bits(
    name: str, address: str, two_processes: Executor, tmp_path: Path
) -> None:
    model, grid, groups = MODELS[name]
    plan = make_plan(make_sweep(model, [grid]))
    assert len(plan.named) == groups
    one = finished(plan, tmp_path / "one", HERE)
    assert (one["completed"] == 1).all()
    assert same_bits(finished(plan, tmp_path / "two", two_processes), one)
    remote = worker(address)
    try:
        _wait_for_workers(address, 1)
        with scheduler(address, tmp_path / "dask") as executor:
            assert same_bits(finished(plan, tmp_path / "dask", executor), one)
    finally:
        remote.kill()
        remote.wait()


def _wait_for_workers(address: str, count: int) -> None:
    from distributed import Client  # noqa: PLC0415 - here only

    with Client(address) as client:
        client.wait_for_workers(count, timeout=60)


def test_two_processes_give_the_bits_of_one_and_print_nothing_of_their_own(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    grid = written(tmp_path, LATENT)
    for count in ("1", "2"):
        assert sweep(str(grid), "--output", str(tmp_path / count), "--workers", count) == 0
    lines = [line for line in capfd.readouterr().err.splitlines() if "minutes left" not in line]
    assert [line.partition(";")[0] for line in lines] == [
        "16 runs, in this process",
        "16 runs, in 2 processes of 1 thread",
    ]
    assert same_bits(open_results(tmp_path / "1").load(), open_results(tmp_path / "2").load())


def test_processes_of_this_machine_listen_to_it_alone() -> None:
    with local(2):
        me = psutil.Process()
        sockets = [
            place for one in (me, *me.children(recursive=True)) for place in one.net_connections("inet")
        ]
    addresses = {place.laddr.ip for place in sockets if place.status == psutil.CONN_LISTEN}
    assert addresses == {"127.0.0.1"}


def test_a_scheduler_that_does_not_answer_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("superconsistency.runner.executors._PATIENCE", "1s")
    with pytest.raises(InputError, match=r"scheduler is tcp://127.0.0.1:9; accepted: the address of"):
        scheduler("tcp://127.0.0.1:9", tmp_path).__enter__()


def test_a_scheduler_without_workers_is_said_in_one_line(address: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="workers is 0; accepted: at least 1; remedy: start one"):
        scheduler(address, tmp_path).__enter__()


def test_the_slurm_job_is_a_script_that_a_shell_can_read() -> None:
    options = {
        "jobs": 4, "queue": "gpu", "account": "theory", "walltime": "12:00:00", "memory": "32GB", "cores": 4,
        "job_extra_directives": ["--gres=gpu:1"], "job_script_prologue": ["module load cuda"],
    }  # fmt: skip
    cluster, jobs = slurm_cluster(options)
    try:
        script = cluster.job_script()
    finally:
        cluster.close()
    assert jobs == 4
    assert subprocess.run(["/bin/bash", "-n"], input=script, text=True, check=False).returncode == 0
    for line in ("#SBATCH -p gpu", "#SBATCH -A theory", "#SBATCH --gres=gpu:1", "#SBATCH -t 12:00:00",
                 "export OMP_NUM_THREADS=4", "module load cuda"):  # fmt: skip
        assert line in script, script
    assert "--nthreads 1" in script


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"job_script_prologue": "module load cuda"}, "accepted: a list of texts"),
        ({"jobs": 0}, "jobs is 0"),
        ({"partition_name": "gpu"}, "option of the cluster is partition_name; accepted: jobs, cores"),
    ],
)
def test_cluster_options_that_make_no_sense_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        slurm_cluster(options)
