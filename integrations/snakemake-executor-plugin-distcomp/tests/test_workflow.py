"""Real workflows by a real Snakemake, on a real worker with a private Redis. DISTCOMP_PROGRAMS names the directory of the programs."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAMS = Path(os.environ["DISTCOMP_PROGRAMS"])

SNAKEFILE = """
rule all:
    input: "sum.txt"

rule one:
    output: "one-{n}.txt"
    threads: 1
    resources: mem_mb=10, runtime=5
    shell: "echo {wildcards.n} > {output}"

rule two:
    input: "one-{n}.txt"
    output: "two-{n}.txt"
    shell: "cat {input} {input} > {output}"

rule three:
    input: expand("two-{n}.txt", n=[1, 2, 3])
    output: "sum.txt"
    shell: "cat {input} > {output}"

rule broken:
    output: "broken.txt"
    shell: "echo it went wrong >&2; exit 7"

rule slow:
    output: "slow.txt"
    shell: "echo $$ > pid; sleep 300; touch {output}"
"""


@dataclass
class Cluster:
    directory: Path
    url: str

    def snakemake(self, *targets: str) -> subprocess.Popen[str]:
        command = [
            "snakemake", "--executor", "distcomp", "--jobs", "10", "--distcomp-programs", str(PROGRAMS),
            "--distcomp-redis-url", self.url, "--seconds-between-status-checks", "1", "--latency-wait", "5", *targets,
        ]  # fmt: skip
        return subprocess.Popen(
            command, cwd=self.directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip

    def status(self, *args: str) -> str:
        return subprocess.run(
            [PROGRAMS / "distcomp-status", "--redis-url", self.url, *args], cwd=self.directory, check=True,
            capture_output=True, text=True,
        ).stdout  # fmt: skip


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    redis = shutil.which("redis-server")
    assert redis is not None, "redis-server is needed"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "conf.json").write_text('{"max_retries": 1, "poll_interval_min_seconds": 0.1}')
    quiet = {"stdout": subprocess.DEVNULL, "cwd": tmp_path}
    with subprocess.Popen([redis, "--port", str(port), "--bind", "127.0.0.1", "--save", ""], **quiet) as server:
        cluster = Cluster(tmp_path, f"redis://127.0.0.1:{port}/0")
        wait_for(lambda: _answers(port), "redis-server does not answer")
        command = [PROGRAMS / "distcomp-worker", "--name", "w1", "--redis-url", cluster.url]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, **quiet) as worker:
            try:
                yield cluster
            finally:
                worker.terminate()
                worker.wait(30)
                server.terminate()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(holds: object, message: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end, message
        time.sleep(0.1)


def test_three_rules_run_in_order(cluster: Cluster) -> None:
    run = cluster.snakemake()
    output, _ = run.communicate(timeout=300)
    assert run.returncode == 0, output
    assert (cluster.directory / "sum.txt").read_text() == "1\n1\n2\n2\n3\n3\n"
    assert '"finished":7' in cluster.status("--json").replace(" ", ""), output


def test_a_failing_rule_fails_with_its_reason(cluster: Cluster) -> None:
    run = cluster.snakemake("broken.txt")
    output, _ = run.communicate(timeout=300)
    assert run.returncode != 0
    assert "failed: " in output and "it went wrong" in output, output


def test_ctrl_c_cancels_what_runs(cluster: Cluster) -> None:
    run = cluster.snakemake("slow.txt")
    pid = cluster.directory / "pid"
    wait_for(lambda: pid.exists() and pid.read_text().strip(), "the job does not start")
    os.killpg(run.pid, signal.SIGINT)
    output, _ = run.communicate(timeout=120)
    assert run.returncode != 0
    process = Path("/proc") / pid.read_text().strip()
    wait_for(lambda: not process.exists(), f"the job still runs\n{output}")
    assert not (cluster.directory / "slow.txt").exists()
