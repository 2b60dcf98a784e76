import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.schedule.slots import Group, Host, Placement, Slot
from data_tools.errors import UserError
from launch.cli import main
from launch.config import Config, load_config
from launch.planning.cost import Machine, Pages, StepCost, stack_cost, timeline, training_cost
from launch.planning.estimate import Known, estimate, even_hosts, scaling, stops_at
from launch.planning.inputs import Rate, gpu_machine, pages_of, parse_rate
from launch.planning.ring import Network, busy_slots, ring_seconds, sharing
from launch.planning.tables import duration, sentence, size
from launch.recipe.stages import plan_recipe
from trainer.config import ModelConfig
from trainer.network.classifier import Geometry
from trainer.network.facts import ModelFacts, facts_of_model

NETWORK = Network(inside=100, inside_latency_s=0, between=10, between_latency_s=0, cycle_s=0, buffer_bytes=1e9)


def group(*hosts: str) -> Group:
    """One slot for each name."""
    return Group(tuple(Slot(host, hosts[:place].count(host)) for place, host in enumerate(hosts)))


@pytest.mark.parametrize(
    ("size_", "ranks", "changes", "rings", "seconds"),
    [
        (800.0, group("a"), {}, 1, 0.0),  # nobody to send to
        (0.0, group("a", "a"), {}, 1, 0.0),
        (800.0, group("a", "a"), {}, 1, 8.0),  # 2 rounds of 400 bytes at 100 a second
        (800.0, group("a", "a", "a", "a"), {}, 1, 12.0),  # 6 rounds of 200
        (800.0, group("a", "a", "b", "b"), {}, 1, 120.0),  # the same at 10 a second: the slowest link decides
        (800.0, group("a", "a", "b", "b"), {}, 3, 360.0),  # which three rings share
        (800.0, group("a", "b"), {"between": 500.0}, 1, 8.0),  # the link inside is the slower one
        (800.0, group("a", "a"), {"inside_latency_s": 1.0}, 1, 10.0),  # one second more a round
        (800.0, group("a", "a"), {"inside_latency_s": 1.0, "buffer_bytes": 300}, 1, 14.0),  # and for each of 3 buffers
        (800.0, group("a", "b"), {"between_latency_s": 1.0}, 1, 82.0),
    ],
)
def test_a_ring(size_: float, ranks: Group, changes: dict[str, float], rings: int, seconds: float) -> None:
    assert ring_seconds(size_, ranks, replace(NETWORK, **changes), sharing=rings) == pytest.approx(seconds)


def test_groups_that_share_a_host() -> None:
    placements = {
        "x": Placement(1, group("a", "b")),
        "y": Placement(1, group("b", "c")),
        "z": Placement(1, group("c", "c")),
        "later": Placement(2, group("a", "b", "c")),
    }
    assert {name: sharing(name, placements) for name in placements} == {"x": 2, "y": 2, "z": 1, "later": 1}
    assert {name: busy_slots(name, placements) for name in placements} == {"x": 2, "y": 3, "z": 3, "later": 1}


PAGES = Pages(train=1000, val=100, test=200, record_bytes=50)
MODEL = ModelFacts(parameters=200, statistics=50, multiply_adds=1e9)
STEPS = {128: StepCost(0.1, 0.01, 0.005), 256: StepCost(0.1, 0.04, 0.02)}
MACHINE = Machine(name="made up", steps=STEPS, world_s=2.0, start_s=5.0)


def costed(workers: Group, machine: Machine = MACHINE, **changes: Any) -> Any:
    config = load_config("rvl_cdip", ["stages.holistic_128.epochs=2", "stages.holistic_128.global_batch=100"])
    job = plan_recipe(config).job("holistic_128")
    job = replace(job, training=replace(job.training, batchnorm_batches=3, **changes))
    placements = {"holistic_128": Placement(0, workers)}
    return training_cost(job, MODEL, pages=PAGES, placements=placements, machine=machine, network=NETWORK)


def test_a_job_of_one_worker() -> None:
    cost = costed(group("a"))
    assert (cost.epochs, cost.steps, cost.worker_batch, cost.gradient_bytes) == (2, 10, 100, 0)
    assert (cost.fixed_step_s, cost.pages_step_s, cost.send_step_s, cost.wait_step_s) == (0.1, 1.0, 0.0, 0.0)
    assert cost.train_s == pytest.approx(2 * 10 * 1.1)
    assert cost.evaluate_s == pytest.approx((2 * (100 + 3 * 100) + 100 + 200) * 0.005)
    assert cost.read_bytes == 50 * (2 * (1000 + 100) + 100 + 200)
    assert cost.seconds == pytest.approx(7.0 + 22.0 + 5.5)
    assert sum(cost.shares().values()) == pytest.approx(cost.seconds)


@pytest.mark.parametrize(
    ("workers", "machine", "changes", "step"),
    [
        # compute 0.1 + 50 pages; rings of 800 and 200 bytes between two ranks: 1000 bytes at 100 a second
        (group("a", "a"), {}, {}, 0.6 + 10.0),
        (group("a", "a"), {}, {"compression": "fp16"}, 0.6 + 6.0),
        (group("a", "b"), {}, {}, 0.6 + 100.0),
        (group("a", "a"), {"overlap": 1.0}, {}, 0.6 + 10.0 - 0.4),
        # four ranks on two cores: half as fast each
        (group("a", "a", "a", "a"), {"cores": 2}, {}, 2 * 0.35 + 15.0),
        # the storage delivers 5000 bytes of a batch in 25 s
        (group("a", "a"), {"read": 200.0}, {}, 25.0),
        (group("a", "b"), {"read": 200.0}, {}, 0.6 + 100.0),
    ],
)
def test_a_step(workers: Group, machine: dict[str, Any], changes: dict[str, Any], step: float) -> None:
    cost = costed(workers, replace(MACHINE, **machine), **changes)
    assert cost.step_s == pytest.approx(step)
    assert cost.gradient_bytes == (400 if changes else 800)


def test_a_timeline_waits_for_needs_and_for_slots() -> None:
    def job(name: str, wave: int, *hosts: str) -> Any:
        return stack_cost(name, PAGES, placement=Placement(wave, group(*hosts)), machine=MACHINE)

    seconds = 2.0 + 3.0 + 100 * MACHINE.stack_page_s
    costs = [job("first", 0, "a", "b"), job("x", 1, "a"), job("y", 1, "b"), job("z", 2, "a"), job("last", 3, "b")]
    needs = {"first": (), "x": ("first",), "y": ("first",), "z": ("first",), "last": ("y",)}
    times = timeline(costs, needs)
    assert {name: round(each.start / seconds) for name, each in times.items()} == {
        "first": 0, "x": 1, "y": 1, "z": 2, "last": 2
    }  # fmt: skip


def known(**changes: Any) -> Known:
    gpu = Machine(name="made up", steps={128: StepCost(0.025, 0.0025, 0.001), 256: StepCost(0.025, 0.01, 0.003)})
    network = Network(inside=1e11, inside_latency_s=1e-5, between=1.25e10, between_latency_s=3e-5)
    models = dict.fromkeys((128, 256), ModelFacts(parameters=54_000_000, statistics=60_000, multiply_adds=1e9))
    return Known(pages=Pages(160_000, 40_000, 40_000, 65_664), models=models, machine=gpu, network=network)


@pytest.fixture(scope="module")
def rvl() -> Config:
    return load_config("rvl_cdip")


def test_the_recipe_on_sixteen_gpus(rvl: Config) -> None:
    found = estimate(rvl, even_hosts(16, 4), known())
    costs = {cost.name: cost for cost in found.costs}
    assert list(costs) == ["holistic_128", "holistic_256", "top", "bottom", "left", "right", "stack"]
    assert [cost.workers for cost in found.costs] == [16, 16, 4, 4, 4, 4, 1]
    assert [cost.placement.wave for cost in found.costs] == [0, 1, 2, 2, 2, 2, 3]
    assert [cost.steps * cost.epochs for cost in found.costs] == [37_500, 25_000, 6_250, 6_250, 6_250, 6_250, 0]
    assert [len(cost.placement.group.hosts) for cost in found.costs] == [4, 4, 1, 1, 1, 1, 1]
    assert costs["top"].gradient_bytes == 216_000_000
    chain = [cost.name for cost in found.critical()]
    assert chain[0] == "stack"
    assert chain[2:] == ["holistic_256", "holistic_128"]
    assert sum(found.shares().values()) == pytest.approx(found.seconds)
    assert found.busy_slot_hours < found.held_slot_hours == pytest.approx(16 * found.seconds / 3600)


def test_where_more_gpus_stop_paying(rvl: Config) -> None:
    steps = scaling(rvl, known(), most=512)
    assert [one.slots for one in steps] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    # The batch is 128: no stage takes more workers than that, and the regions take four times as many together.
    assert [max(cost.workers for cost in one.costs) for one in steps[-3:]] == [128, 128, 128]
    assert [sum(cost.workers for cost in one.costs[2:6]) for one in steps[-2:]] == [256, 512]
    assert steps[0].limit == "compute"
    last = stops_at(steps)
    assert last is not steps[-1]
    assert sentence(steps).startswith(f"beyond {last.slots} GPUs it stops paying: {2 * last.slots} are ")
    assert sentence(steps[:3]) == "up to 4 GPUs, twice as many make the run at least 1.25 times shorter"


def test_a_batch_that_no_epoch_fills_is_refused(rvl: Config) -> None:
    few = replace(known(), pages=Pages(100, 10, 10, 1))
    with pytest.raises(UserError, match="global_batch: 128 is more than the 100 training pages"):
        estimate(rvl, even_hosts(1), few)


@pytest.mark.parametrize(
    ("gpus", "hosts", "slots"),
    [(1, None, [1]), (16, None, [8, 8]), (12, None, [6, 6]), (16, 4, [4, 4, 4, 4]), (7, 2, [4, 3])],
)
def test_hosts(gpus: int, hosts: int | None, slots: list[int]) -> None:
    assert [host.slots for host in even_hosts(gpus, hosts)] == slots
    assert even_hosts(1)[0] == Host("host-1", 1)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("measure", Rate(measure=True)),
        ("V100", Rate(published="v100")),
        ("400", Rate(pages_per_s=400.0)),
        ("97.5@256", Rate(pages_per_s=97.5, px=256)),
    ],
)
def test_rates(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["fast", "0", "-3", "400@", "a100"])
def test_rates_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match=f"--rate {text}: write measure, pages a second"):
        parse_rate(text)


def test_a_given_rate_holds_at_its_size_and_by_multiply_adds_at_others() -> None:
    models = {128: replace(MODEL, multiply_adds=2e9), 256: replace(MODEL, multiply_adds=8e9)}
    machine, words = gpu_machine(Rate(pages_per_s=400.0), models, read=1e9, start_s=1.0)
    assert {px: 1 / step.page for px, step in machine.steps.items()} == pytest.approx({128: 1600, 256: 400})
    assert words == "given: 400 pages/s at 256 px with large batches"
    with pytest.raises(UserError, match="no stage works at 64 px; they do at 128, 256"):
        gpu_machine(Rate(pages_per_s=400.0, px=64), models, read=1e9, start_s=1.0)


def test_pages_come_from_what_is_there(rvl: Config) -> None:
    pages, origin = pages_of(rvl, None)
    assert (pages.train, pages.val, pages.test, pages.record_bytes) == (160_000, 40_000, 40_000, 65_664)
    assert origin == "RVL-CDIP's official numbers, under the cap"
    assert pages_of(rvl, (9, 8, 7))[0].train == 9
    with pytest.raises(UserError, match="demo/pages: no pages and no shards to count; say how many: --pages"):
        pages_of(load_config("demo", ["data.root=nowhere/demo/pages", "shards.folder=nowhere"]), None)


@pytest.mark.parametrize(
    ("seconds", "words", "short"),
    [(41.7, "42 s", "0:00:42"), (200, "3 min 20 s", "0:03:20"), (18_720, "5 h 12 min", "5:12:00"),
     (273_600, "3 d 4 h", "76:00:00")],
)  # fmt: skip
def test_durations(seconds: float, words: str, short: str) -> None:
    assert duration(seconds) == words
    assert duration(seconds, short=True) == short


@pytest.mark.parametrize(("count", "words"), [(0, "0 B"), (65_664, "65.7 kB"), (217e6, "217 MB"), (9.51e11, "951 GB")])
def test_sizes(count: float, words: str) -> None:
    assert size(count) == words


@pytest.mark.parametrize(
    ("backbone", "px", "parameters", "statistics", "multiply_adds"),
    [
        # What Keras' own table gives without the top, and 300 million multiply-adds (Sandler et al. 2018).
        ("MobileNetV2", 224, 2_223_872, 34_112, 0.30e9),
        ("SmallConvNet", 32, None, 2 * (16 + 32 + 64 + 64 + 128), None),
    ],
)
def test_facts_of_a_network(
    backbone: str, px: int, parameters: int | None, statistics: int, multiply_adds: float | None
) -> None:
    config = ModelConfig(backbone=backbone, weights="none", dense=())
    facts = facts_of_model(config, Geometry(px, px, 3, px), classes=16)
    assert facts.statistics == statistics
    if parameters is not None and multiply_adds is not None:
        assert facts.parameters == parameters + 1280 * 16 + 16
        assert facts.multiply_adds == pytest.approx(multiply_adds, rel=0.01)
        half = facts_of_model(config, Geometry(2 * px, 2 * px, 3, px), classes=16)
        assert half.multiply_adds == facts.multiply_adds, "the reduction is no part of the network's kernels"


def test_the_command_prints_a_plan_and_its_scaling(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["plan", "--config", "demo", "--pages", "3200,800,960", "--gpus", "8", "--hosts", "2"]
    arguments += ["--rate", "5000@64", "--scaling", "16"]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [job["name"] for job in found["jobs"]][-5:] == ["top", "bottom", "left", "right", "stack"]
    assert found["jobs"][0]["group"] == {"host-1": 4, "host-2": 4}
    assert [one["slots"] for one in found["scaling"]] == [1, 2, 4, 8, 16]
    assert found["speed"] == "given: 5000 pages/s at 64 px with large batches"
    assert main([*arguments, "--figure", "scaling.svg"]) == 0
    printed = capsys.readouterr().out
    assert "8 GPUs on 2 hosts; pages 3,200 / 800 / 960 (as given)" in printed
    assert "where the time goes: " in printed
    assert (tmp_path / "scaling.svg").read_text().lstrip().startswith("<?xml")
    assert [path.name for path in tmp_path.iterdir()] == ["scaling.svg"], "nothing is run or written else"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--cluster", "--gpus", "4"], "--cluster: asks the cluster for its GPUs; leave out --gpus and --hosts"),
        (["--hosts", "4"], "--hosts: says how --gpus are spread; add --gpus"),
        (["--gpus", "2", "--hosts", "4"], "--gpus 2: at least one a host is needed"),
        (["--gpus", "2", "--overlap", "2"], "--overlap 2: a share, 0 to 1"),
        (["--gpus", "2", "--pages", "3,4"], "--pages: three numbers, TRAIN,VAL,TEST"),
        (["--figure", "x.svg"], "--figure: draws what --scaling computes; add --scaling 512"),
    ],
)
def test_options_that_contradict_each_other(
    options: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "--config", "rvl_cdip", *options]) == 2
    assert capsys.readouterr().err == f"error: {problem}\n"
