"""The complete recipe through the command line, on real Ray and real Horovod."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.soak import live_workers
from data_tools.files import read_json, read_lines
from data_tools.stop import STOPPED
from launch.predict.run import SOME_REJECTED
from tests.helpers.commands import ROOT, environment, heed_interrupts, regionstack, run
from tests.helpers.run_folders import copy_without
from tests.helpers.tiny import JOBS, REGIONS
from tests.helpers.waiting import wait_until
from trainer.scoring.decision import calibrate, read_policy


def spans(folder: Path) -> dict[str, tuple[float, float]]:
    """By job, from the run's record: when its workers were up and when it was done, Unix seconds."""
    events = read_lines(folder / "events.jsonl")
    running = {event["job"]: event["time"] for event in events if event["event"] == "running"}
    done = {event["job"]: event["time"] for event in events if event["event"] == "done"}
    return {job: (running[job], done[job]) for job in done}


def slots_of(folder: Path) -> dict[str, set[str]]:
    """Slots that each job was started on."""
    events = read_lines(folder / "events.jsonl")
    return {event["job"]: set(event["slots"]) for event in events if event["event"] == "started"}


def test_every_job_is_done_and_reported(finished: Path) -> None:
    output = (finished.parent / "output.txt").read_text()
    for job in JOBS:
        assert (finished / "jobs" / job / "result.json").exists(), job
        assert re.search(rf"{job}: done", output), output
    assert f"report: {finished / 'report.html'}" in output
    metrics = read_json(finished / "metrics.json")
    assert set(metrics["models"]) == set(JOBS)


def test_each_stage_starts_from_the_stage_of_the_recipe(finished: Path) -> None:
    results = {job: read_json(finished / "jobs" / job / "result.json") for job in JOBS[:-1]}
    assert results["holistic_16"]["start"]["kind"] == "fresh"
    assert results["holistic_32px"]["start"]["digest"] == results["holistic_16"]["weights_digest"]
    for region in REGIONS:
        assert results[region]["start"]["from"] == "holistic_32px"
        assert results[region]["start"]["digest"] == results["holistic_32px"]["weights_digest"]
        assert results[region]["region"] == region
    times = spans(finished)
    assert times["holistic_32px"][1] <= min(times[region][0] for region in REGIONS)
    assert len(slots_of(finished)["holistic_16"]) == 2, "a whole-page stage takes every slot"
    digests = {result["weights_digest"] for result in results.values()}
    assert len(digests) == len(results), "no two models are the same"


def test_the_report_is_self_contained(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    for job in JOBS:
        assert job in page
    assert "http://" not in re.sub(r"http://www\.w3\.org/\S+", "", page), "the page loads nothing from the network"
    assert "<script src" not in page
    accuracy = read_json(finished / "jobs" / "stack" / "result.json")["test_accuracy"]
    metrics = read_json(finished / "metrics.json")
    assert json.dumps(metrics).count(str(accuracy)[:6]) > 0


def test_the_same_command_again_reports_that_all_is_done(tiny: Path, finished: Path) -> None:
    before = {job: (finished / "jobs" / job / "result.json").read_bytes() for job in JOBS}
    output = regionstack("train-all", "--config", str(tiny), "--set", f"run.folder={finished}")
    assert "all jobs are done" in output
    assert {job: (finished / "jobs" / job / "result.json").read_bytes() for job in JOBS} == before


def test_a_changed_configuration_is_rejected(tiny: Path, finished: Path) -> None:
    changed = ["--set", f"run.folder={finished}", "--set", "stages.regions.epochs=9"]
    output = regionstack("train-all", "--config", str(tiny), *changed, status=2)
    assert "stages.regions.epochs: 2 -> 9" in output
    assert "Traceback" not in output


def test_evaluate_reports_the_recorded_figures(finished: Path) -> None:
    output = regionstack("evaluate", str(finished))
    for job in ("holistic_32px", *REGIONS, "stack"):
        accuracy = read_json(finished / "jobs" / job / "result.json")["test_accuracy"]
        assert re.search(rf"{job}\D+{100 * accuracy:.2f}%", output), (job, accuracy, output)


def test_predictions_of_pages_equal_those_of_the_shards(tiny: Path, finished: Path, tmp_path: Path) -> None:
    recorded = np.load(finished / "jobs" / "stack" / "predictions" / "test.npz", allow_pickle=False)
    ids = [page_id.decode() if isinstance(page_id, bytes) else str(page_id) for page_id in recorded["ids"]]
    pages = [str(tiny.parent / "pages" / page_id) for page_id in ids[:5]]
    (tmp_path / "broken.tif").write_bytes(b"II*\0 not a page")
    output = regionstack(
        "predict", str(finished), *pages, str(tmp_path / "broken.tif"), "--json", str(tmp_path / "p.json"), "--all",
        "--html", str(tmp_path / "p.html"), status=SOME_REJECTED,
    )  # fmt: skip
    assert "broken.tif" in output
    answers = json.loads((tmp_path / "p.json").read_text())["answers"]
    assert [answer["source"] for answer in answers] == [*pages, str(tmp_path / "broken.tif")]
    stack = np.array([list(answer["probabilities"]["stack"].values()) for answer in answers[:-1]])
    policy = read_policy(finished)
    assert policy is not None
    expected = calibrate(policy, {"stack": recorded["softmax"][:5]})["stack"]
    np.testing.assert_allclose(stack, expected, atol=2e-5)
    assert "data:image" in (tmp_path / "p.html").read_text()


def test_status_from_the_folder_alone(finished: Path) -> None:
    output = regionstack("status", str(finished))
    for job in JOBS:
        assert re.search(rf"{job}\b.*done", output), output


def test_four_regions_train_at_the_same_time_two_workers_each(tiny: Path, finished: Path, tmp_path: Path) -> None:
    """Four real Horovod worlds of two on eight slots; started as the file that `ray submit` runs."""
    folder = copy_without(finished, tmp_path / "run", (*REGIONS, "stack"))
    settings = [f"run.folder={folder}", "cluster.slots=8", "cluster.workers_per_region=2"]
    run_file(tiny, *(part for setting in settings for part in ("--set", setting)))
    times, slots = spans(folder), slots_of(folder)
    assert times.keys() == {*REGIONS, "stack"}, "the stages before the regions were done"
    assert max(times[r][0] for r in REGIONS) < min(times[r][1] for r in REGIONS), times
    for region in REGIONS:
        assert len(slots[region]) == 2
        assert all(slots[region].isdisjoint(slots[other]) for other in REGIONS if other != region)
        assert read_json(folder / "jobs" / region / "result.json")["world_size"] == 2
        assert (folder / "jobs" / region / "log-rank-001.txt").exists()


def run_file(config: Path, *arguments: str, env: dict[str, str] | None = None, status: int = 0) -> str:
    return run([sys.executable, str(ROOT / "launch/train_all.py"), "--config", str(config), *arguments],
               env=env, status=status)  # fmt: skip


def test_an_interrupted_driver_leaves_nothing_running_and_its_run_resumes(tiny: Path, tmp_path: Path) -> None:
    """Each signal ends the driver while the first stage trains; the same command resumes from a checkpoint."""
    folder = tmp_path / "run"
    stages = ["holistic_32px=null", "regions=null", "holistic_16.epochs=40"]
    settings = [f"run.folder={folder}", *(f"stages.{stage}" for stage in stages)]
    arguments = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "launch.cli", "train-all", "--config", str(tiny), *arguments]
    job, signals = folder / "jobs" / "holistic_16", (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
    for number in signals:
        interrupt_after_two_epochs(command, job, number)
    run(command)
    before_each_start = (job / "log.txt").read_text().split("start: own checkpoint of step ")
    starts = [re.match(r"\d+", part)[0] for part in before_each_start[1:]]  # type: ignore[index]
    assert len(starts) == len(signals), "each attempt resumed, and none started again"
    for number, start, part in zip(signals, starts, before_each_start[:-1], strict=True):
        saved = re.findall(r"step (\d+): checkpoint", part)
        assert number == signal.SIGKILL or start == saved[-1], "from the step at which all ranks stopped"
    history = read_lines(job / "metrics.jsonl")
    assert [row["epoch"] for row in history] == list(range(1, 41)), "every epoch once, in order"


def interrupt_after_two_epochs(command: list[str], job: Path, number: signal.Signals) -> None:
    """Start the driver, send it the signal after two more epochs of the job, and wait until its workers are gone."""
    epochs = len(read_lines(job / "metrics.jsonl"))
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
    ) as driver:
        wait_until(lambda: len(read_lines(job / "metrics.jsonl")) >= epochs + 2, "two epochs")
        driver.send_signal(number)
        _, errors = driver.communicate(timeout=240)
    assert driver.returncode == (-9 if number == signal.SIGKILL else STOPPED), errors
    assert number == signal.SIGKILL or "stopped and saved; run the same command again to resume" in errors
    assert not (job / "result.json").exists(), "the stage was interrupted"
    wait_until(lambda: not live_workers(job.parents[1]), "the end of all workers")


def test_a_stop_while_a_job_starts_loses_nothing(tiny: Path, tmp_path: Path) -> None:
    """The signal arrives as soon as the workers are up, which then open the shards and build the network."""
    folder = tmp_path / "run"
    settings = [f"run.folder={folder}", "stages.holistic_32px=null", "stages.regions=null"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "launch.cli", "train-all", "--config", str(tiny), *arguments]

    def is_up() -> bool:
        return any(event["event"] == "running" for event in read_lines(folder / "events.jsonl"))

    with subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True) as driver:
        wait_until(is_up, "the workers of the first job")
        driver.send_signal(signal.SIGTERM)
        _, errors = driver.communicate(timeout=240)
    assert driver.returncode == STOPPED, errors
    assert "stopped and saved" in errors
    assert [e["event"] for e in read_lines(folder / "events.jsonl")] == ["started", "running", "stopped"], errors
    run(command)
    assert (folder / "jobs" / "holistic_16" / "result.json").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["data.train=none.txt", "shards.folder={tmp}/new"], ["none.txt", "no such"]),
        (["shards.height=64"], ["shards.folder"]),
        (["stages.regions.epoch=1"], ["did you mean epochs"]),
        (["cluster.workers_per_region=24"], ["24 workers", "2 slots"]),
        (["cluster.workers_per_region=5"], ["cluster.workers_per_region: 5 workers", "stages.regions"]),
        (["model.weights=imagenet"], ["no ImageNet weights for SmallConvNet", "model.weights: none"]),
        (["model.weights={tmp}/none.h5"], ["none.h5", "no such file"]),
    ],
)
def test_invalid_input_is_one_line_and_trains_nothing(
    tiny: Path, tmp_path: Path, settings: list[str], words: list[str]
) -> None:
    folder = tmp_path / "run"
    chosen = [setting.replace("{tmp}", str(tmp_path)) for setting in settings]
    more = [part for setting in chosen for part in ("--set", setting)]
    output = regionstack("train-all", "--config", str(tiny), "--set", f"run.folder={folder}", *more, status=2)
    errors = [line for line in output.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, output
    for word in words:
        assert word in errors[0]
    assert "Traceback" not in output
    assert not list(folder.glob("jobs/*/checkpoints/*"))
