"""A conversion on the hosts of a Ray cluster: each converts its share; the bytes equal those of one host."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import yaml

from data_tools.config import to_mapping
from data_tools.conversion.convert import ShardConfig, convert
from data_tools.documents.regions import PRESETS
from tests.helpers.conversions import files
from tests.helpers.synthetic_pages import made_data

ROOT = Path(__file__).parents[2]


def test_every_host_of_the_cluster_converts_its_share(tmp_path: Path) -> None:
    data = made_data(tmp_path, counts={"train": 600, "val": 6, "test": 6})
    shards = ShardConfig(folder=str(tmp_path / "alone"), height=64, width=64, shard_mib=1, workers=1)
    convert(data, shards, regions=PRESETS["halves"], seed=1)
    over_two = to_mapping(replace(shards, folder=str(tmp_path / "s")))
    config = {"preset": "demo", "data": to_mapping(data), "shards": over_two}
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "tests.cluster.convert_on_two_hosts", str(tmp_path / "my.yaml")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "converting on 2 hosts of the Ray cluster" in ended.stdout
    shares = {host: int(pages) for host, pages in re.findall(r"^(\S+): (\d+) pages$", ended.stdout, re.MULTILINE)}
    # 37 shards of training pages and one each of the other splits, assigned in turn.
    assert sorted(shares.values()) == [298, 314]
    assert files(tmp_path / "s") == files(tmp_path / "alone")
