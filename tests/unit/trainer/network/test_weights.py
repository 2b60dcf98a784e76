"""Transfer of weights by name: strict, with messages that name the differences."""

import os
import resource
import stat
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from data_tools.errors import UserError
from trainer.network.weights import load_arrays, named, save_arrays, transfer


@dataclass
class Variable:
    """The interface of a Keras variable that a transfer uses."""

    path: str
    value: np.ndarray = field(default_factory=lambda: np.zeros(2, np.float32))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def assign(self, value: np.ndarray) -> None:
        self.value = value


ONES = np.ones(2, np.float32)


def test_everything_matches() -> None:
    variables = [Variable("a/kernel"), Variable("b/kernel"), Variable("seed/seed_generator_state")]
    skipped = transfer(variables, {"a/kernel": ONES, "b/kernel": ONES * 2, "seed/seed_generator_state": ONES})
    assert skipped == []
    assert [float(v.value[0]) for v in variables] == [1, 2, 0], "seeds take no part"


@pytest.mark.parametrize(
    ("names", "arrays", "words"),
    [
        (["a", "b"], {"a": ONES}, ["missing in the file: b", "only in the file: none"]),
        (["a"], {"a": ONES, "c": ONES}, ["missing in the file: none", "only in the file: c"]),
        (["a", "b"], {"a": ONES, "c": ONES}, ["missing in the file: b", "only in the file: c"]),
        (["a"], {"a": np.ones(3, np.float32)}, ["other shape: a (3,) -> (2,)"]),
    ],
)
def test_a_mismatch_names_both_sides(names: list[str], arrays: dict[str, np.ndarray], words: list[str]) -> None:
    variables = [Variable(name) for name in names]
    with pytest.raises(UserError) as caught:
        transfer(variables, arrays, source="from.safetensors")
    for word in ["from.safetensors", *words]:
        assert word in str(caught.value)
    assert all(v.value.sum() == 0 for v in variables), "nothing is assigned where something does not fit"


def test_variables_listed_as_fresh_keep_their_values() -> None:
    variables = [Variable("a"), Variable("logits/kernel")]
    arrays = {"a": ONES, "logits/kernel": np.ones(7, np.float32), "logits/old": ONES}
    assert transfer(variables, arrays, fresh=["logits/*"]) == ["logits/kernel"]
    assert [float(v.value.sum()) for v in variables] == [2, 0]


def test_two_variables_of_one_name_are_rejected() -> None:
    with pytest.raises(ValueError, match="share a name"):
        named([Variable("a"), Variable("a")])


def test_a_file_of_weights_holds_the_same_arrays(tmp_path: Path) -> None:
    arrays = {
        "b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "a": np.array(3, np.int64),
        "s": np.zeros(2, np.uint32),
    }
    save_arrays(tmp_path / "one.safetensors", arrays)
    save_arrays(tmp_path / "two.safetensors", dict(reversed(arrays.items())))
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    loaded = load_arrays(tmp_path / "one.safetensors")
    assert set(loaded) == set(arrays)
    for name, array in arrays.items():
        assert (loaded[name].dtype, loaded[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(loaded[name], array)


def test_damaged_files_of_weights_are_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    with pytest.raises(UserError, match="no such file"):
        load_arrays(path)
    path.write_bytes(b"\x10\0\0\0\0\0\0\0not json at all")
    with pytest.raises(UserError, match="safetensors: cannot be read"):
        load_arrays(path)


def test_a_file_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # as on a full disk, for this process alone
    try:
        with pytest.raises(OSError, match="File too large"):
            save_arrays(tmp_path / "large.safetensors", {"a": np.zeros(10_000, np.float32)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_this_user_may_not_read_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "theirs.safetensors"
    save_arrays(path, {"a": np.zeros(3, np.float32)})

    def closed(self: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", closed)
    with pytest.raises(UserError, match="permission denied"):
        load_arrays(path)


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_the_mode_follows_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        save_arrays(tmp_path / "file", {"a": np.zeros(3, np.float32)})
        save_arrays(tmp_path / "file", {"a": np.ones(3, np.float32)})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~umask
