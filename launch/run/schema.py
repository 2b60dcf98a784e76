"""The JSON files of a run folder as types: run.json, events.jsonl, and each job's progress, metrics and result.

Every key may be absent: an older version, or a killed process, may have left it out. Times are unix seconds.
"""

from typing import Any, Literal, TypedDict

EventKind = Literal["started", "running", "done", "failed", "retried", "skipped", "stopped", "waiting"]

Phase = Literal["starting", "training", "evaluating", "predicting", "done"]


class ClassEntry(TypedDict, total=False):
    """One class: its id in the label files and its name."""

    id: int
    name: str


class RunInfo(TypedDict, total=False):
    """`run.json`: what is known when a run is created.

    jobs: names of all jobs in the order of the recipe, the stack last. versions: package -> version. command: the
    arguments of the process that created the run.
    """

    created: float
    command: list[str]
    versions: dict[str, str]
    jobs: list[str]
    classes: list[ClassEntry]


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

    group: host -> number of slots. slots: `host:index`. wave: which of the groups that follow one another. attempt:
    1 for the first. placed_s, start_s: seconds until the slots were reserved and until all workers were up.
    """

    time: float
    event: EventKind
    job: str
    group: dict[str, int]
    slots: list[str]
    wave: int | None
    attempt: int
    workers: list[WorkerInfo]
    placed_s: float
    start_s: float
    error: str


class ProgressRecord(TypedDict, total=False):
    """`heartbeat-rank-0.json` of a job: where rank 0 is, rewritten about once a second.

    step, steps: taken and planned, over all epochs. loss, accuracy: means over the epoch so far. pages_per_s: of the
    whole world. time: of the write; step_time: when phase, step or batch last changed (unix seconds).
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
    world_size: int
    attempt: int
    pid: int
    time: float
    step_time: float


class EpochRecord(TypedDict, total=False):
    """One line of a job's `metrics.jsonl`: an epoch that is complete.

    val_loss, val_accuracy: None for a stack that is fitted on all validation pages. seconds: training alone.
    """

    epoch: int
    step: int
    train_loss: float | None
    train_accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float
    seconds: float
    pages_per_s: float
    weights_digest: str
    time: float


StartRecord = TypedDict(
    "StartRecord",
    {
        "kind": Literal["warm_start", "weights", "fresh"],
        "from": str | None,
        "digest": str | None,
        "checkpoint": str,
        "file": str,
        "file_sha256": str,
        "fresh": list[str],
        "source": str,
        "source_sha256": str,
    },
    total=False,
)
"""Where a job's first weights came from.

from: name of the earlier job, or path of the weight file. digest: of the weights there. checkpoint, file, file_sha256,
fresh: of a warm start; fresh lists the variables that kept their initial values. source, source_sha256: what the weight
file was imported from.
"""


class JobResult(TypedDict, total=False):
    """`result.json` of a job: it is done, and this is what came out.

    Training jobs and the stack share the keys down to `versions`; those below are the stack's.
    parameters: number of trainable ones. train_seconds: without evaluation. best_checkpoint: relative to the job's
    folder. selection_share: share of the validation pages that picked the best epoch.
    """

    job: str
    region: str
    stage: str
    world_size: int
    epochs: int
    best_epoch: int
    best_checkpoint: str
    val_accuracy: float
    val_loss: float
    test_accuracy: float
    test_loss: float
    parameters: int
    weights_digest: str
    start: StartRecord
    train_seconds: float
    seconds: float
    started: float
    ended: float
    attempt: int
    selection_share: float | None
    versions: dict[str, str]
    members: list[str]
    method: str
    member_weights: dict[str, float]
    leak_free: dict[str, Any]
    scores: dict[str, Any]
    methods: dict[str, Any]
    members_scores: dict[str, Any]
    paired_test: dict[str, Any]
