"""Weights as named arrays: saved without pickle, transferred by name with no difference ignored."""

import fnmatch
import hashlib
import os
import re
import stat
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.cores import available_cores
from data_tools.errors import UserError, storage_problem
from data_tools.files import read_json, sha256, write_json
from trainer.native_log import load_tensorflow

SEED_STATE = "seed_generator_state"
"""Last part of the path of a Keras random generator's state, which differs between ranks on purpose."""

READERS = 4
"""Threads that copy and hash variables: one core limits both, and both release the interpreter lock."""

NOTE = "start.json"
"""File beside imported start weights that names their source."""

_OS_ERROR = re.compile(r"\(os error (\d+)\)")
"""The number of the system's error in a message of safetensors."""
NAMES_SHOWN = 8
IMPORT_SHAPE = (224, 224, 3)
"""A shape that all backbones accept; weights do not depend on it."""


def is_seed(variable: Any) -> bool:
    """Whether a Keras variable is the state of a random generator."""
    return str(variable.path).endswith(SEED_STATE)


def named(variables: Sequence[Any] | Mapping[str, Any]) -> dict[str, Any]:
    """Keras variables by path; a mapping keeps its names.

    Raises:
        ValueError: two variables share a path, so that a file could not hold both.
    """
    if isinstance(variables, Mapping):
        return dict(variables)
    result = {variable.path: variable for variable in variables}
    if len(result) != len(variables):
        raise ValueError("two variables share a name; weights cannot be saved by name")
    return result


def view(variable: Any) -> np.ndarray:
    """A Keras variable's value, in its shape and dtype; in host memory no copy, so read it before training resumes."""
    import tensorflow as tf

    return np.asarray(memoryview(tf.convert_to_tensor(variable.value)))


def copy_values(variables: Mapping[str, Any], into: Mapping[str, np.ndarray]) -> None:
    """Copy variables into the arrays of the same names, which must have their shapes and dtypes."""

    def copy(name: str) -> None:
        np.copyto(into[name], view(variables[name]), casting="no")

    with ThreadPoolExecutor(min(READERS, available_cores())) as pool:
        list(pool.map(copy, variables))


def weights_digest(variables: Sequence[Any]) -> str:
    """Hex SHA-256 over the SHA-256 of each variable (path, dtype, shape and bytes), in order.

    Several threads hash, one variable each, since training waits for the digest.
    """

    def digest(variable: Any) -> bytes:
        value = view(variable)
        hashed = hashlib.sha256(f"{variable.path}:{value.dtype}:{value.shape};".encode())
        hashed.update(value.reshape(-1).data)
        return hashed.digest()

    with ThreadPoolExecutor(min(READERS, available_cores())) as pool:
        return hashlib.sha256(b"".join(pool.map(digest, variables))).hexdigest()


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays of any shape and dtype by name in the safetensors format; equal arrays give equal bytes.

    The file has the mode that the umask gives: safetensors itself writes files that only their owner can read.

    Raises:
        OSError: the file cannot be written; `filename` is `path`.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    try:
        save_file({name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}, path)
    except SafetensorError as error:  # raised for a full disk, too
        number = _OS_ERROR.search(str(error))
        if number is None:
            raise OSError(str(error)) from None
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None
    path.chmod(mode)


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Arrays by name from a safetensors file, with the shapes and dtypes in which they were written.

    Raises:
        UserError: the file is missing, may not be read by this user, or is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        # safetensors reports a file that it may not open as missing.
        with path.open("rb"):
            pass
        return dict(load_file(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file of weights") from None
    except PermissionError as error:
        raise storage_problem(error) or error from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: cannot be read as weights ({error})") from None


def transfer(
    variables: Sequence[Any] | Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    *,
    fresh: Sequence[str] = (),
    source: str = "",
) -> list[str]:
    """Assign `arrays` to the Keras variables of the same names; returns the names that keep their initial values.

    Random generators are left out. Variables that match a pattern of `fresh` keep their initial values; all others
    must be on both sides with the same shape. source: name of the arrays in the error message.

    Raises:
        UserError: a name that `fresh` does not match is on one side only, or has another shape.
    """
    ours = {name: variable for name, variable in named(variables).items() if not is_seed(variable)}
    theirs = {name: array for name, array in arrays.items() if not name.endswith(SEED_STATE)}
    skipped = [name for name in ours if any(fnmatch.fnmatch(name, pattern) for pattern in fresh)]
    wanted = [name for name in ours if name not in skipped]
    missing = [name for name in wanted if name not in theirs]
    unused = [name for name in theirs if name not in ours]
    unused = [name for name in unused if not any(fnmatch.fnmatch(name, pattern) for pattern in fresh)]
    shapes = [
        f"{name} {tuple(theirs[name].shape)} -> {tuple(ours[name].shape)}"
        for name in wanted
        if name in theirs and tuple(theirs[name].shape) != tuple(ours[name].shape)
    ]
    if missing or unused or shapes:
        raise UserError(
            f"{source or 'weights'}: do not fit this model; missing in the file: {_shown(missing)}; only in the file: "
            f"{_shown(unused)}; other shape: {_shown(shapes)}; list intended differences in the stage's `fresh`"
        )
    for name in wanted:
        ours[name].assign(theirs[name])
    return skipped


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return (", ".join(names[:NAMES_SHOWN]) + more) if names else "none"


def load_backbone(backbone: Any, path: Path) -> str:
    """Load a Keras weight file of the backbone (`.weights.h5`, or the `.h5` of `keras.applications`); its SHA-256.

    Raises:
        UserError: the file is missing, is not a weight file, or belongs to another network.
    """
    if not path.is_file():
        raise UserError(f"model.weights: {path}: no such file")
    if not path.name.endswith(".h5"):
        raise UserError(f"model.weights: {path}: a Keras weight file is expected (.weights.h5 or .h5)")
    try:
        backbone.load_weights(path)
    except (ValueError, KeyError, OSError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"model.weights: {path} does not fit {backbone.name}: {reason}") from None
    return sha256(path)


def import_weights(backbone: str, source: Path | None, path: Path) -> str:
    """Write start weights to `path` (`.weights.h5`) and their source to `start.json` beside it.

    source: a weight file; None: Keras' ImageNet download. Returns the hex SHA-256 of `source`, or of `path` for the
    download.

    Raises:
        UserError: the download fails (the message says how to provide a file instead), or the file does not fit the
            backbone.
    """
    from trainer.network.backbones import SMALL, build_backbone

    load_tensorflow()
    if source is None and backbone == SMALL:
        raise UserError(f"model.weights: there are no ImageNet weights for {SMALL}; set model.weights: none")
    model = _downloaded(backbone) if source is None else build_backbone(backbone, IMPORT_SHAPE)
    digest = None if source is None else load_backbone(model, source)
    temporary = path.with_name(f".unfinished-{path.name}")
    model.save_weights(temporary)
    temporary.replace(path)
    digest = digest or sha256(path)
    note = {"source": "imagenet" if source is None else str(source), "backbone": backbone, "sha256": digest}
    write_json(path.with_name(NOTE), note)
    return digest


def imported_from(path: Path) -> dict[str, str]:
    """The source of imported start weights, as `source` and `source_sha256`; empty without a `start.json`."""
    note = path.with_name(NOTE)
    if not note.exists():
        return {}
    found = read_json(note)
    return {"source": str(found["source"]), "source_sha256": str(found["sha256"])}


def _downloaded(backbone: str) -> Any:
    from trainer.network.backbones import build_backbone

    try:
        return build_backbone(backbone, IMPORT_SHAPE, weights="imagenet")
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - Keras raises a bare Exception for any failure of its download
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"model.weights: imagenet: Keras' download for {backbone} failed ({reason}); download the 'notop' weight "
            "file elsewhere and set model.weights: PATH, or set model.weights: none to train from scratch"
        ) from None
