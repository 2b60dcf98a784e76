"""The world of one job: rank, size and collectives. The only place that imports Horovod."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_tools.errors import UserError, horovod_required
from trainer.native_log import load_tensorflow, no_matplotlib

DIGEST_BYTES = 32
CPU_CYCLE_MS = "5"
"""Cycle time, ms, of a Horovod built for CPUs, unless HOROVOD_CYCLE_TIME is set. In each cycle all ranks exchange a few
bytes, even with nothing to reduce: that costs two idle ranks, each pinned to a core, 7 % of the core at 1 ms (Horovod's
default) and 3 % at 5 ms."""


@dataclass(frozen=True)
class World:
    """The place of this process among the workers of its job.

    rank: 0..size-1; rank 0 writes files. local_rank: rank among the workers on the same host, and index of this
    worker's GPU among those visible to the job on that host.
    """

    rank: int
    size: int
    local_rank: int

    @classmethod
    def start(cls) -> "World":
        """Join the world described by the launcher (horovodrun, Ray); without a launcher, a world of one.

        Raises:
            UserError: Horovod is not installed.
        """
        hvd = _horovod()
        if not hvd.nccl_built():
            os.environ.setdefault("HOROVOD_CYCLE_TIME", CPU_CYCLE_MS)
        hvd.init()
        return cls(hvd.rank(), hvd.size(), hvd.local_rank())

    def average_step(
        self, gradients: Sequence[Any], statistics: Sequence[Any], *, compression: str, deterministic: bool
    ) -> tuple[list[Any], list[Any]]:
        """Averages over ranks of one step's gradients and statistics, float32 tensors, inside a `tf.function`.

        deterministic: all tensors form one group, which starts once the last gradient is computed. Otherwise each
        gradient starts on its own, overlapping the backward pass; then timing decides which tensors share a fusion
        buffer, and thereby the order in which a ring of three or more ranks adds up.
        compression: `fp16` sends gradients, not statistics, as float16: values above 65,504 become infinite.
        """
        import tensorflow as tf

        if self.size == 1:
            return list(gradients), list(statistics)
        hvd = _horovod()
        chosen = hvd.Compression.fp16 if compression == "fp16" else hvd.Compression.none
        flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in statistics], axis=0)
        if not deterministic:
            averaged = [
                hvd.allreduce(gradient, op=hvd.Average, compression=chosen, name=f"gradient.{number}")
                for number, gradient in enumerate(gradients)
            ]
            flat = hvd.allreduce(flat, op=hvd.Average, name="statistics")
        elif compression == "fp16":
            averaged = hvd.grouped_allreduce(list(gradients), op=hvd.Average, compression=chosen, name="gradients")
            # A group has one dtype. One after the other: otherwise timing decides whether they share a buffer.
            with tf.control_dependencies(averaged):
                flat = hvd.allreduce(tf.identity(flat), op=hvd.Average, name="statistics")
        else:
            *averaged, flat = hvd.grouped_allreduce([*gradients, flat], op=hvd.Average, name="step")
        return averaged, _unflatten(flat, statistics)

    def average(self, tensors: Sequence[Any], *, name: str) -> list[Any]:
        """Averages over ranks of float32 tensors, in one collective; usable inside a `tf.function`."""
        import tensorflow as tf

        if self.size == 1 or not tensors:
            return list(tensors)
        hvd = _horovod()
        flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
        return _unflatten(hvd.allreduce(flat, op=hvd.Average, name=name), tensors)

    def average_in_order(self, tensor: Any, *, name: str) -> Any:
        """Average over ranks of a small float32 tensor, summed in the order of ranks, so its bits never vary.

        Inside a `tf.function`; the gradient is the average of the ranks' gradients.
        """
        import tensorflow as tf

        hvd, shape = _horovod(), tensor.shape

        def average(value: Any, of: str) -> Any:
            rows = hvd.allgather(tf.expand_dims(value, 0), name=of)
            return tf.reduce_mean(tf.reshape(rows, [self.size, *shape]), axis=0)

        @tf.custom_gradient
        def both(value: Any) -> tuple[Any, Any]:
            return average(value, name), lambda upstream: average(upstream, f"{name}.gradient")

        return both(tensor)

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
        """The rows of all ranks, [n, ...] of any dtype, rank 0's first; ranks may hold different numbers of rows."""
        if self.size == 1:
            return rows
        return np.asarray(_horovod().allgather(rows, name=name))

    def broadcast(self, variables: Sequence[Any]) -> None:
        """Assign the values of rank 0's Keras variables to those of all ranks."""
        if self.size == 1 or not variables:
            return
        import tensorflow as tf

        hvd = _horovod()

        # `hvd.broadcast_variables` does the same, and keeps a graph for each set of variables that it has seen.
        @tf.function(autograph=False)
        def assign() -> None:
            for number, variable in enumerate(variables):
                variable.assign(hvd.broadcast(variable.value, root_rank=0, name=f"variable.{number}"))

        assign()

    def broadcast_bytes(self, value: bytes, *, name: str) -> bytes:
        """Rank 0's bytes, on every rank."""
        if self.size == 1:
            return value
        hvd = _horovod()
        length = int(hvd.broadcast(np.array([len(value)], np.int64), root_rank=0, name=f"{name}.length")[0])
        buffer = np.frombuffer(value, np.uint8) if self.rank == 0 else np.zeros(length, np.uint8)
        return bytes(np.asarray(hvd.broadcast(buffer.copy(), root_rank=0, name=name)).tobytes())

    def check_equal(self, digest: str, *, step: int) -> None:
        """Check that all ranks hold the same weights. digest: hex SHA-256 of this rank's weights.

        Raises:
            UserError: on every rank, naming the ranks that differ from rank 0.
        """
        mine = np.frombuffer(bytes.fromhex(digest), np.uint8).reshape(1, DIGEST_BYTES)
        rows = self.gather(mine.copy(), name="weights_digest")
        different = [rank for rank in range(len(rows)) if not np.array_equal(rows[rank], rows[0])]
        if different:
            raise UserError(
                f"step {step}: ranks {', '.join(map(str, different))} hold other weights than rank 0: gradients were "
                "not averaged over all ranks; nothing is saved from this step on"
            )


def _unflatten(flat: Any, tensors: Sequence[Any]) -> list[Any]:
    """Split a flat tensor into the shapes of `tensors`, whose elements it holds in order."""
    import tensorflow as tf

    parts = tf.split(flat, [int(np.prod(tensor.shape)) for tensor in tensors])
    return [tf.reshape(part, tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def _horovod() -> Any:
    # Importing Horovod loads TensorFlow's Keras, which takes seconds; only training processes need it.
    with no_matplotlib():
        load_tensorflow()
    with horovod_required():
        import horovod.tensorflow as hvd

    return hvd
