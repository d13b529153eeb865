"""Snakemake executor plugin for DistComp: each job of a workflow is a task in the queue, run by whichever worker has room for it."""

import asyncio
import math
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Optional

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase

from .programs import ProgramError, Programs, Unavailable

__all__ = ["Executor", "ExecutorSettings", "common_settings"]


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    """The options `--distcomp-…` of Snakemake."""

    config: Optional[str] = field(
        default=None, metadata={"help": "Configuration file of DistComp [default: conf.json, if it exists]"}
    )
    redis_url: Optional[str] = field(
        default=None,
        metadata={"help": "Redis server of the queue; overrides the configuration file", "env_var": True},
    )
    local: Optional[str] = field(
        default=None,
        metadata={"help": "Use the queue of `distcomp run` in this directory, instead of a Redis of one's own"},
    )
    programs: Optional[str] = field(
        default=None, metadata={"help": "Directory of distcomp-submit, distcomp-status, distcomp-ctl [default: PATH]"}
    )


common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    auto_deploy_default_storage_provider=False,
    init_seconds_before_status_checks=1,
)


class Executor(RemoteExecutor):
    """Submits jobs as tasks, asks for their state, and cancels them with the workflow."""

    def __post_init__(self) -> None:
        settings: ExecutorSettings = self.workflow.executor_settings or ExecutorSettings()
        self.programs = Programs(
            directory=settings.programs, config=settings.config, redis_url=settings.redis_url, local=settings.local
        )
        # Tasks that may wait or run. Snakemake's own list is empty while it asks for their states, and a Ctrl-C may come just then.
        self.open_tasks: set[str] = set()

    def run_jobs(self, jobs: list[JobExecutorInterface]) -> None:
        """Submits all jobs that are ready in one call."""
        for job in jobs:
            self.run_job_pre(job)
        self._submit(jobs)

    def run_job(self, job: JobExecutorInterface) -> None:
        """Submits one job."""
        self._submit([job])

    def _submit(self, jobs: list[JobExecutorInterface]) -> None:
        try:
            ids = self.programs.submit([self._task_of(job) for job in jobs])
        except ProgramError as error:
            for job in jobs:
                self.report_job_error(SubmittedJobInfo(job), msg=f"cannot submit to DistComp: {error}\n")
            return
        for job, task_id in zip(jobs, ids, strict=True):
            self.open_tasks.add(task_id)
            self.report_job_submission(SubmittedJobInfo(job, external_jobid=task_id))

    def _task_of(self, job: JobExecutorInterface) -> dict[str, Any]:
        resources = job.resources
        task: dict[str, Any] = {
            "cmd": self.format_job_exec(job),
            "cpus": job.threads,
            "mem": _gib(resources),
            "cwd": str(self.workflow.workdir_init),
        }
        runtime = resources.get("runtime")
        # Of Snakemake in minutes. Without one Snakemake knows no limit, and DistComp's default must not end the job.
        task["timeout"] = max(1, round(runtime * 60)) if isinstance(runtime, int | float) else 0
        priority = resources.get("distcomp_priority")
        if priority is not None:
            task["priority"] = int(priority)
        return task

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Reports the jobs that have ended, and yields the others."""
        ids = [str(job.external_jobid) for job in active_jobs]
        try:
            async with self.status_rate_limiter:
                states = await asyncio.to_thread(self.programs.states, ids)
        except Unavailable as error:
            self.logger.warning(f"DistComp cannot be asked at the moment, trying again: {error}")
            states = ["unknown"] * len(ids)
        for job, state in zip(active_jobs, states, strict=True):
            match state:
                case "finished":
                    self.open_tasks.discard(str(job.external_jobid))
                    self.report_job_success(job)
                case "failed" | "cancelled":
                    self.open_tasks.discard(str(job.external_jobid))
                    reason = await asyncio.to_thread(self._reason, str(job.external_jobid))
                    self.report_job_error(job, msg=f"DistComp task {job.external_jobid} {state}: {reason}\n")
                case "none":
                    self.open_tasks.discard(str(job.external_jobid))
                    self.report_job_error(job, msg=f"DistComp task {job.external_jobid} was purged from the queue\n")
                case _:
                    yield job

    def _reason(self, task_id: str) -> str:
        try:
            return self.programs.reason(task_id)
        except ProgramError as error:
            return f"(its reason cannot be read: {error})"

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Stops the tasks of jobs when the workflow is cancelled."""
        ids = self.open_tasks | {str(job.external_jobid) for job in active_jobs if job.external_jobid is not None}
        try:
            self.programs.cancel(sorted(ids))
        except ProgramError as error:
            # Raised, it would keep Snakemake from ending.
            self.logger.error(f"The tasks of this workflow may still run, they cannot be cancelled: {error}")


def _gib(resources: Any) -> str:
    """The memory of a job in GB of 2^30 bytes, as DistComp counts them, rounded up; 0 where the job declares none."""
    mebibytes = resources.get("mem_mib")
    megabytes = resources.get("mem_mb")
    if isinstance(megabytes, int | float):
        size = megabytes * 1e6 / 2**30
    elif isinstance(mebibytes, int | float):
        size = mebibytes / 1024
    else:
        size = 0
    return f"{math.ceil(size * 1000) / 1000:g}"
