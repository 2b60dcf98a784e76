"""Which job started from which weights, as plain data."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from data_tools.files import read_text
from launch.report.schema import TransferRow
from launch.run.record import JobRecord, RunRecord
from trainer.job_folder.journal import CONFIG


def transfers(record: RunRecord) -> list[TransferRow]:
    """The source of each job's start weights; of a job that has epochs and is not done, the one that it was given."""
    digests = {name: job.result.get("weights_digest") for name, job in record.jobs.items()}
    rows: list[TransferRow] = []
    for name, job in record.jobs.items():
        start = job.result.get("start") or _given_start(job)
        if not isinstance(start, Mapping):
            continue
        source, digest = str(start.get("from") or ""), start.get("digest")
        parts = Path(source).parts
        source_job = next((other for other in digests if other != name and other in parts), None)
        recorded = digests.get(source_job or "")
        rows.append(
            {
                "job": name,
                "kind": start.get("kind"),
                "from": source_job or source or None,
                "digest": digest,
                "matches": digest == recorded if recorded and digest else None,
                "weights_digest": job.result.get("weights_digest"),
                "epoch": _epoch_of(start, record.jobs[source_job]) if source_job else None,
            }
        )
    return rows


def _given_start(job: JobRecord) -> Mapping[str, Any] | None:
    """The start of a job that has not recorded it yet, from its configuration; None without another job in it."""
    try:
        config = yaml.safe_load(read_text(job.folder / CONFIG)) if job.epochs else None
    except yaml.YAMLError:
        return None
    source = config.get("start_job") if isinstance(config, Mapping) else None
    return {"kind": "warm_start", "from": source} if isinstance(source, str) else None


def _epoch_of(start: Mapping[str, Any], source: JobRecord) -> int | None:
    """The epoch of `source` whose weights a job started from: that of the checkpoint, or the best one."""
    step = re.search(r"step-(\d+)", str(start.get("checkpoint") or ""))
    by_step = {row["step"]: row["epoch"] for row in source.epochs}
    return by_step.get(int(step[1])) if step else source.result.get("best_epoch")
