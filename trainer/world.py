"""The world of one job: rank, size and collectives. The only place that imports Horovod."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_tools.errors import UserError

DIGEST_BYTES = 32
LOST_PEER = ("HorovodInternalError", "Horovod has been shut down", "Connection closed by peer")
"""Signs, in an exception's name or text, that it only tells of another rank that is gone."""


@dataclass(frozen=True)
class World:
    """This process' place among the workers of its job.

    rank: 0..size-1; rank 0 writes files. local_rank: place among the workers on the same host, which is also
    the number of its GPU among those that the host shows to the job.
    """

    rank: int
    size: int
    local_rank: int

    @classmethod
    def start(cls) -> "World":
        """Join the world that the launcher (horovodrun, Ray) describes; alone where there is none."""
        hvd = _horovod()
        hvd.init()
        return cls(hvd.rank(), hvd.size(), hvd.local_rank())

    def gradient_tape(self, tape: Any, *, compression: str, deterministic: bool) -> Any:
        """Wrap a `tf.GradientTape` so that its gradients are averages over all ranks.

        Deterministic: all gradients go as one group. Otherwise which of them share a fusion buffer, and with it
        the order in which a ring adds them up, depends on timing.
        """
        hvd = _horovod()
        chosen = hvd.Compression.fp16 if compression == "fp16" else hvd.Compression.none
        groups = 1 if deterministic else None
        return hvd.DistributedGradientTape(tape, compression=chosen, op=hvd.Average, groups=groups)

    def average(self, tensors: Sequence[Any], *, name: str) -> list[Any]:
        """Averages over ranks of float32 tensors, as one collective; usable inside `tf.function`."""
        import tensorflow as tf

        if self.size == 1 or not tensors:
            return list(tensors)
        hvd = _horovod()
        flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
        averaged = hvd.allreduce(flat, op=hvd.Average, name=name)
        parts = tf.split(averaged, [int(np.prod(tensor.shape)) for tensor in tensors])
        return [tf.reshape(part, tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def sum(self, values: np.ndarray, *, name: str) -> np.ndarray:
        """Sums over ranks of a NumPy array (float64 or int64)."""
        if self.size == 1:
            return values
        hvd = _horovod()
        return np.asarray(hvd.allreduce(values, op=hvd.Sum, name=name))

    def any(self, flags: Sequence[bool], *, name: str) -> list[bool]:
        """For each flag, whether it is set on at least one rank."""
        counts = self.sum(np.array(flags, dtype=np.int64), name=name)
        return [bool(count) for count in counts]

    def gather(self, rows: np.ndarray, *, name: str) -> np.ndarray:
        """The rows of all ranks, rank 0's first; ranks may hold different numbers of rows."""
        if self.size == 1:
            return rows
        return np.asarray(_horovod().allgather(rows, name=name))

    def broadcast(self, variables: Sequence[Any]) -> None:
        """Give all ranks the values that rank 0's Keras variables hold."""
        if self.size > 1:
            _horovod().broadcast_variables([variable.value for variable in variables], root_rank=0)

    def broadcast_bytes(self, value: bytes, *, name: str) -> bytes:
        """Rank 0's bytes, on every rank."""
        if self.size == 1:
            return value
        hvd = _horovod()
        length = int(hvd.broadcast(np.array([len(value)], np.int64), root_rank=0, name=f"{name}.length")[0])
        buffer = np.frombuffer(value, np.uint8) if self.rank == 0 else np.zeros(length, np.uint8)
        return bytes(np.asarray(hvd.broadcast(buffer.copy(), root_rank=0, name=name)).tobytes())

    def check_equal(self, digest: str, *, step: int) -> None:
        """Stop the job where ranks hold different weights.

        Raises:
            UserError: on every rank, naming the ranks that differ from rank 0.
        """
        mine = np.frombuffer(bytes.fromhex(digest), np.uint8).reshape(1, DIGEST_BYTES)
        rows = self.gather(mine.copy(), name="weights_digest")
        different = [rank for rank in range(len(rows)) if not np.array_equal(rows[rank], rows[0])]
        if different:
            raise UserError(
                f"step {step}: ranks {', '.join(map(str, different))} hold other weights than rank 0; the gradients "
                "were not averaged over all ranks, and nothing was saved from here on"
            )


def horovod_version() -> str:
    """Version of the installed Horovod."""
    import horovod

    return str(horovod.__version__)


def _horovod() -> Any:
    # Horovod looks for TensorFlow's Keras at import, which costs seconds; only training processes pay for it.
    import horovod.tensorflow as hvd

    return hvd
