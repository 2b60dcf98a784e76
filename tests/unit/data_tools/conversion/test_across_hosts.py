"""Shares of a conversion travel as plain data, and leave the same bytes as a conversion on one host."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_tools.conversion.across_hosts import ShareRunner, write_share
from data_tools.conversion.convert import ShardConfig, convert
from data_tools.errors import UserError
from tests.helpers.conversions import REGIONS, SMALL, files
from tests.helpers.synthetic_pages import made_data


def test_shares_leave_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = made_data(tmp_path, class_names=("memo", "form", "letter"))
    settings: dict[str, Any] = SMALL | {"workers": 1}
    convert(data, ShardConfig(folder=str(tmp_path / "alone"), **settings), regions=REGIONS, seed=1)
    monkeypatch.chdir(tmp_path)
    counts = []

    def run(payloads: list[dict[str, Any]]) -> None:
        monkeypatch.chdir("/")  # Other hosts have another working directory.
        counts.extend(write_share(json.loads(json.dumps(payload))) for payload in payloads)
        monkeypatch.chdir(tmp_path)

    near = replace(data, root="pages", train="train.txt", val="val.txt", test="test.txt")
    shares = ShareRunner(2, run)
    convert(near, ShardConfig(folder="shared", **settings), regions=REGIONS, seed=1, share_runner=shares)
    assert sum(count["pages"] for count in counts) == 63
    assert files(tmp_path / "shared") == files(tmp_path / "alone")


def test_a_host_that_does_not_see_the_shard_folder_says_so(tmp_path: Path) -> None:
    data = made_data(tmp_path)

    def run(payloads: list[dict[str, Any]]) -> None:
        for payload in payloads:
            with pytest.raises(UserError, match="not on this host; set shards"):
                write_share(payload | {"staging": str(tmp_path / "elsewhere" / "staging")})

    shards = ShardConfig(folder=str(tmp_path / "s"), workers=1, height=16, width=12)
    assert convert(data, shards, regions={}, seed=1, share_runner=ShareRunner(2, run)).pages == 63
