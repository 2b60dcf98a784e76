"""How many threads a worker process may use, and the variable that carries the number to it."""

THREADS = "REGIONSTACK_THREADS"
"""Environment variable: threads of one worker, a count of 1 or more; 0 or unset leaves TensorFlow's own default."""


def threads_per_worker(cores: float, slots: int) -> int:
    """Threads of each of `slots` workers that share a host's `cores`: an equal part, 1 at least."""
    return max(1, int(cores / slots))
