"""What a Horovod is built for, from its version, and which GPUs that serves; pure functions."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

Capability = tuple[int, int]
"""Major and minor number of an NVIDIA GPU's compute capability, 8 and 9 for an L4."""


@dataclass(frozen=True)
class Build:
    """The local part of a version that `make env` installed: `tf2.21.0.cuda12.9.nccl2.32.3.sm80.sm90.r3`.

    cuda, nccl: releases; None for a build without GPUs. capabilities: of the GPUs that it has code for.
    """

    tensorflow: str
    cuda: str | None
    nccl: str | None
    capabilities: tuple[str, ...]
    recipe: str

    def equals(self, other: "Build") -> bool:
        """Whether ranks of the two builds may form one world.

        Minor releases of CUDA are compatible with each other, and what GPUs a build serves concerns its own host.
        """
        return self._compared() == other._compared()

    def _compared(self) -> tuple[object, ...]:
        major = self.cuda.partition(".")[0] if self.cuda else None
        return self.tensorflow, major, self.nccl, self.recipe

    def text(self) -> str:
        """In words: `for CUDA 12.9 and NCCL 2.32.3`."""
        kind = f"CUDA {self.cuda} and NCCL {self.nccl}" if self.cuda else "CPUs"
        return f"TensorFlow {self.tensorflow}, {kind} (build {self.recipe})"


_VERSION = re.compile(
    r"\+tf(?P<tensorflow>\d+\.\d+\.\d+[a-z0-9]*)"
    r"\.(?:cpu|cuda(?P<cuda>\d+\.\d+)\.nccl(?P<nccl>\d+(?:\.\d+)*?)(?P<sm>(?:\.sm\d+a?)*))"
    r"\.r(?P<recipe>\d+)$"
)


def build_of(version: str) -> Build | None:
    """The build that a version of Horovod names; None where it is of another origin."""
    found = _VERSION.search(version)
    if not found:
        return None
    numbers = tuple(part.removeprefix("sm") for part in (found["sm"] or "").split(".") if part)
    return Build(found["tensorflow"], found["cuda"], found["nccl"], numbers, f"r{found['recipe']}")


def capability(text: str) -> Capability | None:
    """The capability in `8.9` (nvidia-smi), `89`, `sm_89` or `compute_89`; None where `text` is none."""
    found = re.fullmatch(r"(?:sm_|compute_)?(\d+)\.?(\d)[a-z]?", text.strip())
    return (int(found[1]), int(found[2])) if found else None


def serves(built: Sequence[str], card: Capability, *, ptx: Sequence[str] = ()) -> bool:
    """Whether code built for the capabilities `built` and `ptx` runs on a GPU of capability `card`.

    Machine code runs on GPUs of the same major number and at least its minor number; PTX (`compute_90` among `built`
    counts as that) is compiled by the driver for all newer ones. Either runs on its own capability alone where its
    name ends with a letter (`sm_90a`). Source: CUDA C++ Programming Guide, "Binary Compatibility", "PTX
    Compatibility" and "Architecture-Specific Features".
    """
    if any(name[-1:].isalpha() and capability(name) == card for name in built):
        return True
    names, ptx = ([name for name in given if not name[-1:].isalpha()] for given in (built, ptx))
    machine = [found for name in names if not name.startswith("compute_") and (found := capability(name))]
    texts = [*ptx, *(name for name in names if name.startswith("compute_"))]
    portable = [found for text in texts if (found := capability(text))]
    same = any(major == card[0] and minor <= card[1] for major, minor in machine)
    return same or any(found <= card for found in portable)
