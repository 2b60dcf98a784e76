"""`regionstack plan`: its options, the sources of page counts and speed, and what it prints."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_tools.errors import UserError
from launch.cli import main
from launch.config import load_config
from launch.planning import plan as planning
from launch.planning.inputs import Rate, count_pages, machine_of_rate, parse_rate
from trainer.network.facts import ModelFacts

MODEL = ModelFacts(parameters=200, statistics=50, multiply_adds=1e9)


@pytest.mark.parametrize(("text", "rate"), [("measure", None), ("400", Rate(400.0)), ("97.5@256", Rate(97.5, px=256))])
def test_rates(text: str, rate: Rate | None) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["fast", "0", "-3", "400@", "v100"])
def test_invalid_rates(text: str) -> None:
    with pytest.raises(UserError, match=f"--rate {text}: "):
        parse_rate(text)


def test_a_given_rate_holds_at_its_size_and_by_multiply_adds_at_others() -> None:
    models = {128: replace(MODEL, multiply_adds=2e9), 256: replace(MODEL, multiply_adds=8e9)}
    machine = machine_of_rate(Rate(400.0), models)
    assert {px: 1 / step.page_s for px, step in machine.steps.items()} == pytest.approx({128: 1600, 256: 400})
    with pytest.raises(UserError, match="--rate @64: no stage trains at 64 px; the stages use 128, 256"):
        machine_of_rate(Rate(400.0, px=64), models)


def test_page_counts_without_pages() -> None:
    rvl = load_config("rvl_cdip")
    pages, source = count_pages(rvl, None)
    assert (pages.train, pages.val, pages.test, pages.record_bytes) == (160_000, 40_000, 40_000, 65_680)
    assert "data.max_per_class" in source
    assert count_pages(rvl, (9, 8, 7))[0].train == 9
    with pytest.raises(UserError, match=r"demo/pages: .* --pages TRAIN,VAL,TEST"):
        count_pages(load_config("demo", ["data.root=nowhere/demo/pages", "shards.folder=nowhere"]), None)


def test_the_command_prints_a_plan_and_its_scaling(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["plan", "--config", "demo", "--pages", "3200,800,960", "--gpus", "8", "--hosts", "2"]
    arguments += ["--rate", "5000@64", "--scaling", "16", "--inter-host-gbps", "8"]
    assert main([*arguments, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [job["name"] for job in plan["jobs"]][-5:] == ["top", "bottom", "left", "right", "stack"]
    assert plan["jobs"][0]["group"] == {"host-1": 4, "host-2": 4}
    assert [total["slots"] for total in plan["scaling"]] == [1, 2, 4, 8, 16]
    assert (plan["pages"]["train"], plan["pages"]["source"]) == (3200, "as given")
    assert plan["network"]["inter_host"] == 1e9, "bytes per second"
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("8 GPUs on 2 hosts", "3,200 / 800 / 960", "all-reduce", *plan["hosts"]))
    assert list(tmp_path.iterdir()) == [], "a plan writes no files"


def test_the_recommended_workers_can_be_set_and_then_are_planned(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["plan", "--config", "rvl_cdip", "--pages", "160000,40000,40000", "--gpus", "16", "--hosts", "4"]
    arguments += ["--rate", "assumed", "--json"]

    def planned(*more: str) -> dict[str, Any]:
        assert main([*arguments, *more]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    plain = planned()
    recommended = {stage: found["recommended"] for stage, found in plain["workers_per_stage"].items()}
    assert list(recommended) == ["holistic_128", "holistic_256", "regions"]
    for setting in ("auto", json.dumps(recommended)):
        jobs = planned("--set", f"cluster.workers_per_stage={setting}")["jobs"]
        workers = {job["stage"]: sum(job["group"].values()) for job in jobs}
        assert workers == {**recommended, "stack": 1}, setting


def test_the_speed_of_a_gpu_cannot_be_measured_without_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "_local_gpus", lambda: 0)
    assert main(["plan", "--config", "rvl_cdip", "--gpus", "8"]) == 2
    assert "this host has no GPU" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--cluster", "--gpus", "4"], "--cluster: "),
        (["--hosts", "4"], "--hosts: "),
        (["--gpus", "2", "--hosts", "4"], "--gpus 2: "),
        (["--gpus", "2", "--hosts", "0"], "--hosts 0: "),
        (["--gpus", "2", "--scaling", "-1"], "--scaling -1: "),
        (["--gpus", "4", "--hosts", "2", "--rate", "400", "--inter-host-gbps", "-5"], "--inter-host-gbps -5: "),
        (["--gpus", "4", "--rate", "400", "--intra-host-gbps", "0"], "--intra-host-gbps 0: "),
        (["--gpus", "4", "--rate", "400", "--intra-host-gbps", "nan"], "--intra-host-gbps nan: "),
        (["--gpus", "2", "--pages", "3,4"], "--pages: "),
    ],
)
def test_options_that_contradict_each_other(options: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--config", "rvl_cdip", *options]) == 2
    assert capsys.readouterr().err.startswith(f"error: {named}")


@pytest.mark.parametrize("preset", ["rvl_cdip", "rvl_cdip_best", "small_data", "demo"])
def test_a_plan_by_a_given_rate_imports_no_tensorflow(preset: str) -> None:
    options = ["plan", "--config", preset, "--pages", "160000,40000,40000", "--gpus", "16", "--rate", "400", "--json"]
    program = (
        "import sys\nfrom launch.cli import main\n"
        f"status = main({options!r})\n"
        "sys.exit(status or any(name in sys.modules for name in ('tensorflow', 'keras', 'ray', 'cv2')))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
