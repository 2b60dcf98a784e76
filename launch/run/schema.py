"""Schema of the files that a driver writes into a run folder, and of the progress that each job writes.

Every key may be absent, since an older version may have written the file. Times are unix seconds. The files that a job
writes when an epoch or the job itself is complete are described in `trainer.scoring.schema`.
"""

from typing import Any, Literal, TypedDict

EventKind = Literal["started", "running", "done", "failed", "retried", "skipped", "stopped", "waiting"]

Phase = Literal["starting", "training", "saving", "evaluating", "predicting", "done", "stopped", "failed"]


class ClassEntry(TypedDict, total=False):
    """One class: its id in the label files and its name."""

    id: int
    name: str


class RunInfo(TypedDict, total=False):
    """`run.json`: what is known when a run is created.

    jobs: names of all jobs in the order of the recipe, the stack last. versions: package -> version. command: the
    arguments of the process that created the run. The other keys are written when the shards are complete: see
    `launch.run.model.ModelRecord`.
    """

    created: float
    command: list[str]
    versions: dict[str, str]
    jobs: list[str]
    classes: list[ClassEntry]
    regions: dict[str, list[float]]
    page: dict[str, int]
    shards: str
    labels: dict[str, str]


class WorkerInfo(TypedDict, total=False):
    """One rank of a running attempt; (machine, pid, ticks) identifies its process, see `cluster.liveness.process`.

    devices: CUDA_VISIBLE_DEVICES. import_s: seconds that importing the job's module took.
    """

    rank: int
    host: str
    pid: int
    ticks: int
    machine: str
    devices: str
    import_s: float


class EventRecord(TypedDict, total=False):
    """One line of `events.jsonl`: what the driver saw happen to a job.

    group: host -> number of slots. slots: `host:index`. attempt: 1 for the first. placed_s, start_s: seconds until
    the slots were reserved and until all workers were up. reused: whether the workers are those of an earlier job.
    owner: the process that trains without a driver, see `launch.run.owner`.
    """

    time: float
    event: EventKind
    job: str
    group: dict[str, int]
    slots: list[str]
    attempt: int
    workers: list[WorkerInfo]
    placed_s: float
    start_s: float
    owner: dict[str, Any]
    reused: bool
    error: str


class ProgressRecord(TypedDict, total=False):
    """`heartbeat-rank-0.json` of a job: where rank 0 is, rewritten about once a second.

    step, steps: taken and planned, over all epochs. loss, accuracy: means over the epoch so far. pages_per_s: of the
    whole world. step_s: mean seconds of a training step; epoch_end_s: seconds from the last step of an epoch to the
    first one of the next. doing: what a job that starts is at. time: of the write; step_time: when phase, step or batch
    last changed (unix seconds).
    """

    job: str
    phase: Phase
    epoch: int
    epochs: int
    step: int
    steps: int
    steps_per_epoch: int
    loss: float
    accuracy: float
    pages_per_s: float
    step_s: float
    epoch_end_s: float
    doing: str
    world_size: int
    attempt: int
    pid: int
    time: float
    step_time: float
