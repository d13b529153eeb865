"""Real workflows by a real Snakemake, on a real worker with a private Redis. DISTCOMP_PROGRAMS names the directory of the programs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = Path(os.environ["DISTCOMP_PROGRAMS"])
RECIPE = Path(__file__).parent.parent / "cluster-generic"

GENERIC_SUBMIT = (
    "distcomp-submit --rerun --parsable -c {threads} -m $(( ({resources.mem_mb} + 1073) / 1074 )) -t 0 --"
)

SNAKEFILE = """
rule all:
    input: "sum.txt"

rule one:
    output: "one-{n}.txt"
    shell: "echo {wildcards.n} > {output}"

rule two:
    input: "one-{n}.txt"
    output: "two-{n}.txt"
    shell: "cat {input} {input} > {output}"

rule three:
    input: expand("two-{n}.txt", n=[1, 2, 3])
    output: "sum.txt"
    shell: "cat {input} > {output}"

rule demanding:
    output: "demanding.txt"
    threads: 2
    resources: mem_mb=500, runtime=5, distcomp_priority=3
    shell: "touch {output}"

rule broken:
    output: "broken.txt"
    shell: "echo it went wrong >&2; exit 7"

rule slow:
    output: "slow.txt"
    shell: "echo started >> starts; echo $$ > pid; until test -e go-on; do sleep 0.1; done; touch {output}"
"""


@dataclass
class Cluster:
    """A queue with one worker, in the directory of a workflow."""

    directory: Path
    url: str

    def snakemake(self, *targets: str, executor: tuple[str, ...] = ("distcomp",)) -> subprocess.Popen[str]:
        command = ["snakemake", "--executor", *executor, "--jobs", "10", "--latency-wait", "5"]
        if executor == ("distcomp",):
            command += ["--distcomp-programs", str(PROGRAMS), "--distcomp-redis-url", self.url]
        command += ["--seconds-between-status-checks", "1", *targets]
        environment = {**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "DISTCOMP_REDIS_URL": self.url}
        return subprocess.Popen(
            command,
            cwd=self.directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def status(self, *args: str) -> Any:
        command = [str(PROGRAMS / "distcomp-status"), "--redis-url", self.url, "--json", *args]
        done = subprocess.run(command, cwd=self.directory, check=True, capture_output=True, text=True)
        return json.loads(done.stdout)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    redis = shutil.which("redis-server") or shutil.which("valkey-server")
    assert redis is not None, "redis-server is needed"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "conf.json").write_text('{"max_retry_per_task": 1, "sleep_sec_between_accepting_task": 0.1}')
    command = [redis, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=tmp_path) as server:
        cluster = Cluster(tmp_path, f"redis://127.0.0.1:{port}/0")
        wait_for(lambda: _answers(port), "redis-server does not answer")
        state = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
        command = [str(PROGRAMS / "distcomp-worker"), "--name", "w1", "--redis-url", cluster.url]
        log = (tmp_path / "worker.log").open("w")
        with log, subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path, env=state) as worker:
            try:
                yield cluster
            finally:
                # The first signal waits for running tasks, the second ends them.
                worker.terminate()
                time.sleep(0.5)
                worker.terminate()
                try:
                    worker.wait(30)
                finally:
                    worker.kill()
                    server.terminate()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(holds: Callable[[], object], message: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, message
        time.sleep(0.1)


def running_pid(cluster: Cluster) -> Path:
    """The process of the rule `slow`, once it runs."""
    pid = cluster.directory / "pid"
    wait_for(lambda: pid.exists() and pid.read_text().strip(), "the job does not start")
    return Path("/proc") / pid.read_text().strip()


def generic() -> tuple[str, ...]:
    """The recipe of the README, without the plugin."""
    return (
        "cluster-generic",
        "--default-resources",
        "mem_mb=1000",
        "--cluster-generic-submit-cmd",
        GENERIC_SUBMIT,
        "--cluster-generic-status-cmd",
        str(RECIPE / "distcomp-state.sh"),
        "--cluster-generic-cancel-cmd",
        str(RECIPE / "distcomp-cancel.sh"),
    )


EXECUTORS = pytest.mark.parametrize("executor", [("distcomp",), generic()], ids=["plugin", "cluster-generic"])


@EXECUTORS
def test_three_rules_run_in_order(cluster: Cluster, executor: tuple[str, ...]) -> None:
    run = cluster.snakemake(executor=executor)
    output, _ = run.communicate(timeout=300)
    assert run.returncode == 0, output
    assert (cluster.directory / "sum.txt").read_text() == "1\n1\n2\n2\n3\n3\n"
    # Seven jobs and no more; `all` has nothing to run.
    assert cluster.status()["counts"]["finished"] == 7, output


def test_a_job_becomes_a_task_with_its_demand(cluster: Cluster) -> None:
    run = cluster.snakemake("demanding.txt")
    wait_for(lambda: sum(cluster.status()["counts"].values()) == 1, "nothing is submitted")
    line = cluster.status("tasks")["line"]
    os.killpg(run.pid, signal.SIGINT)
    run.communicate(timeout=120)
    # 500 MB are 0.466 GB of 2^30 bytes; two cores; priority 3; 5 minutes.
    assert line.startswith("shell:0.466:2:3:300:"), line


def test_a_failing_rule_fails_with_its_reason(cluster: Cluster) -> None:
    run = cluster.snakemake("broken.txt")
    output, _ = run.communicate(timeout=300)
    assert run.returncode != 0
    assert "failed: exit 1" in output and "it went wrong" in output, output


def test_a_failing_rule_fails_by_the_recipe(cluster: Cluster) -> None:
    run = cluster.snakemake("broken.txt", executor=generic())
    output, _ = run.communicate(timeout=300)
    assert run.returncode != 0 and "Error in rule broken" in output, output


@EXECUTORS
def test_ctrl_c_cancels_what_runs(cluster: Cluster, executor: tuple[str, ...]) -> None:
    run = cluster.snakemake("slow.txt", executor=executor)
    process = running_pid(cluster)
    os.killpg(run.pid, signal.SIGINT)
    output, _ = run.communicate(timeout=120)
    assert run.returncode != 0
    wait_for(lambda: not process.exists(), f"the job still runs\n{output}")
    assert not (cluster.directory / "slow.txt").exists()
    task = cluster.status("tasks")["id"]
    wait_for(lambda: cluster.status("state", task)["state"] == "cancelled", "the task is not cancelled")


def test_programs_that_are_missing_are_named(cluster: Cluster) -> None:
    run = cluster.snakemake("one-1.txt", "--distcomp-programs", "/nowhere")
    output, _ = run.communicate(timeout=120)
    assert run.returncode != 0 and "there is no distcomp-submit in /nowhere" in output, output


def test_the_state_script_speaks_snakemakes_words(cluster: Cluster) -> None:
    environment = {**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "DISTCOMP_REDIS_URL": cluster.url}

    def word(task: str, **changes: str) -> str:
        command = [str(RECIPE / "distcomp-state.sh"), task]
        return subprocess.run(
            command, cwd=cluster.directory, env={**environment, **changes}, check=True, capture_output=True, text=True
        ).stdout.strip()

    def submit(command: str) -> str:
        return subprocess.run(
            [str(PROGRAMS / "distcomp-submit"), "--parsable", "--", command],
            cwd=cluster.directory,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    fine, broken, slow = submit("true"), submit("exit 3"), submit("sleep 300")
    wait_for(lambda: word(fine) == "success", "it does not finish")
    wait_for(lambda: word(broken) == "failed", "it does not fail")
    assert word(slow) == "running"
    assert word("0123456789abcdef") == "failed"
    # Redis is away: it may come back, and the job may run.
    assert word(slow, DISTCOMP_REDIS_URL="redis://127.0.0.1:1/0") == "running"
