"""Start weights from drawn pages: their place in the cache, and their errors; tests/e2e trains them."""

from pathlib import Path

import pytest

from data_tools.errors import UserError
from data_tools.files import write_json
from data_tools.shards.lock import locked
from launch.config import load_config
from launch.recipe import drawn_weights
from launch.recipe.drawn_weights import drawn_path, ensure_drawn
from launch.recipe.prepare import ensure_weights


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGIONSTACK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def path_of(*settings: str) -> Path:
    return drawn_path(load_config("small_data", ["model.weights=drawn", *settings]))


def test_equal_settings_share_a_file_whatever_the_run(cache: Path) -> None:
    path = path_of()
    assert path.parent == cache / "weights"
    assert path.name.startswith("drawn-MobileNetV2-")
    assert path.name.endswith(".weights.h5")
    assert path_of("seed=9", "run.folder=elsewhere", "model.dense=[8]", "stages.holistic_96.epochs=1") == path


@pytest.mark.parametrize(
    "setting",
    [
        "model.backbone=MobileNetV3Small",
        "model.scaling=unit",
        "model.batchnorm_momentum=0.5",
        "drawn.start=none",
        "drawn.pages_per_class=7",
        "drawn.image_px=128",
        "drawn.epochs=9",
    ],
)
def test_what_changes_the_weights_changes_the_file(setting: str) -> None:
    assert path_of(setting) != path_of()


def test_a_file_to_start_from_counts_by_its_content(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.h5", "b.h5", "c.h5")]
    for file, content in zip(files, (b"1", b"1", b"2"), strict=True):
        file.write_bytes(content)
    first, same, other = (path_of(f"drawn.start={file}") for file in files)
    assert first == same != other
    with pytest.raises(UserError, match=r"drawn\.start: .*gone\.h5: no such file"):
        path_of(f"drawn.start={tmp_path / 'gone.h5'}")


@pytest.mark.parametrize(
    "settings",
    [
        ["drawn.epochs=0"],
        ["drawn.pages_per_class=0"],
        ["drawn.pages_per_class=1"],  # 16 pages, and a batch has 32
        ["drawn.start=drawn"],
        ["drawn.start=imagnet"],
        ["drawn.start=imagenet", "model.backbone=SmallConvNet"],
        ["drawn.image_px=1"],
        ["drawn.image_px=24"],  # MobileNetV2 needs 32
        ["drawn.image_px=10000"],
    ],
)
def test_invalid_settings_are_found_by_their_key_before_a_page_is_drawn(settings: list[str]) -> None:
    with pytest.raises(UserError, match=rf"^{settings[0].partition('=')[0]}: ") as caught:
        path_of(*settings)
    assert "\n" not in str(caught.value)


def test_a_file_in_the_cache_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn_weights, "_build", lambda *_: pytest.fail("made again"))
    path = path_of()
    path.parent.mkdir(parents=True)
    path.touch()
    assert ensure_drawn(load_config("small_data", ["model.weights=drawn"])) == path


def test_a_run_that_has_its_weights_resumes_without_the_cache_and_without_what_they_started_from(
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    (run / "weights").mkdir(parents=True)
    write_json(run / "weights" / "start.json", {"source": "/gone/drawn-MobileNetV2-0.weights.h5", "sha256": "0"})
    (run / "weights" / "start.weights.h5").touch()
    settings = ["model.weights=drawn", f"drawn.start={tmp_path / 'gone.h5'}", f"run.folder={run}"]
    assert ensure_weights(load_config("small_data", settings)) == str(run / "weights" / "start.weights.h5")


def test_another_process_that_makes_it_is_named(cache: Path) -> None:
    build = cache / "weights" / path_of().name.removesuffix(".weights.h5")
    with locked(build), pytest.raises(UserError, match=r"drawn-MobileNetV2-\w+: another run is writing there"):
        ensure_drawn(load_config("small_data", ["model.weights=drawn"]))


def test_a_training_that_fails_leaves_its_run_and_no_file(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failed:
        def __init__(self, *_: object, **__: object) -> None: ...

        def wait(self) -> int:
            return 2

    monkeypatch.setattr("data_tools.drawn.draw_data_set", lambda *_, **__: True)
    monkeypatch.setattr(drawn_weights.subprocess, "Popen", Failed)
    with pytest.raises(UserError, match=r"status 2.*resumes it"):
        ensure_drawn(load_config("small_data", ["model.weights=drawn"]))
    assert not list((cache / "weights").glob("*.h5"))
    assert list((cache / "weights").glob("drawn-*/config.yaml"))
