"""Calls the programs of DistComp: submit, status, ctl."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# A command line holds so many ids at most; each has 16 digits.
IDS_AT_ONCE = 1000

# Exit code of the programs when Redis cannot be used, which may pass.
REDIS_UNAVAILABLE = 3


class ProgramError(Exception):
    """A program of DistComp is missing, or has refused to do what it was asked to."""


class Unavailable(ProgramError):
    """Redis cannot be used at the moment."""


@dataclass(frozen=True)
class Programs:
    """Where the programs are, and which queue they use."""

    directory: str | None = None
    config: str | None = None
    redis_url: str | None = None
    local: str | None = None

    def submit(self, tasks: Sequence[Mapping[str, Any]]) -> list[str]:
        """Adds tasks to the queue, also those that ended in an earlier run; answers their ids, in order."""
        lines = "".join(json.dumps(task) + "\n" for task in tasks)
        answer = json.loads(self._run("distcomp-submit", ["--jsonl", "--rerun", "--json", "-"], lines))
        ids = [str(task_id) for task_id in answer["ids"]]
        if len(ids) != len(tasks):
            raise ProgramError(f"distcomp-submit answered {len(ids)} ids for {len(tasks)} tasks")
        return ids

    def states(self, ids: Sequence[str]) -> list[str]:
        """The state of each task in one word: waiting, blocked, running, finished, failed, cancelled, none."""
        words: list[str] = []
        for part in _parts(ids):
            words += self._run("distcomp-status", ["state", *part]).split()
        if len(words) != len(ids):
            raise ProgramError(f"distcomp-status answered {len(words)} states for {len(ids)} tasks")
        return words

    def reason(self, task_id: str) -> str:
        """Why a task failed, and the end of what it wrote to standard error."""
        task = json.loads(self._run("distcomp-status", ["show", "--json", task_id]))
        last = (task.get("attempts") or [{}])[-1]
        reason = str(task.get("reason") or last.get("result") or "unknown")
        stderr = str(last.get("stderr_tail") or "").strip()
        # The reason of most failures ends with the end of standard error.
        return reason if stderr in reason else f"{reason}\n{stderr}"

    def cancel(self, ids: Sequence[str]) -> None:
        """Stops tasks that wait or run; the others are left as they are."""
        for part in _parts(ids):
            self._run("distcomp-ctl", ["cancel", "--yes", "--quiet", *part])

    def _run(self, program: str, args: Sequence[str], stdin: str = "") -> str:
        path = shutil.which(program, path=self.directory) if self.directory else shutil.which(program)
        if path is None:
            where = self.directory or "PATH"
            raise ProgramError(f"there is no {program} in {where}; --distcomp-programs names its directory")
        command = [path]
        if self.config is not None:
            command += ["--config", self.config]
        if self.local is not None:
            command += [f"--local={self.local}"]
        environment = dict(os.environ)
        if self.redis_url is not None:
            # Not on the command line, where others could read a password in it.
            environment["DISTCOMP_REDIS_URL"] = self.redis_url
        done = subprocess.run(
            [*command, *args],
            input=stdin,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            # Ctrl-C is for Snakemake, which then wants to cancel its tasks.
            start_new_session=True,
        )
        if done.returncode == 0:
            return done.stdout
        message = done.stderr.strip() or f"{program} ended with {done.returncode}"
        raise (Unavailable if done.returncode == REDIS_UNAVAILABLE else ProgramError)(message)


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), IDS_AT_ONCE):
        yield ids[start : start + IDS_AT_ONCE]
