"""The commands on data: draw, convert, verify, fetch, survey."""

import argparse

from launch.recipe.demo import PAGES_PER_CLASS, SEED
from launch.terminal.console import Commands, add_config_options, command, print_out
from launch.terminal.outputs import new_folder, output_folder


def data_commands(commands: Commands) -> None:
    """Add the commands on data to the parser."""
    _add_draw(commands)
    _add_convert(commands)
    _add_verify(commands)
    _add_fetch(commands)
    _add_survey(commands)


def _add_draw(commands: Commands) -> None:
    parser = command(
        commands,
        "draw",
        _draw,
        about="draw a demo data set of 16 classes",
        examples="  regionstack draw --out demo/pages\n  regionstack draw --out small --train 20 --val 5 --test 5",
    )
    parser.add_argument("--out", default="demo/pages", metavar="DIR", help="folder to create (default: demo/pages)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"the same seed draws the same bytes (default: {SEED})")
    for split, count in PAGES_PER_CLASS.items():
        parser.add_argument(
            f"--{split}", type=int, default=count, metavar="N", help=f"pages per class in {split} (default: {count})"
        )


def _add_convert(commands: Commands) -> None:
    parser = command(
        commands,
        "convert",
        _convert,
        about="convert pages to sharded TFRecords, one set per split and region",
        examples="  regionstack convert --config my.yaml\n"
        "  regionstack convert --config rvl_cdip --set data.root=/data/rvl-cdip/images\n"
        "on all hosts of a Ray cluster:\n"
        "  regionstack convert --config my.yaml --set cluster.address=HEAD:6379",
    )
    add_config_options(parser)


def _add_verify(commands: Commands) -> None:
    parser = command(
        commands,
        "verify",
        _verify,
        about="check every byte of the shards against their manifests",
        examples="  regionstack verify --config my.yaml\n  regionstack verify --config my.yaml --quick",
    )
    add_config_options(parser)
    parser.add_argument("--quick", action="store_true", help="check sizes and counts only, not checksums")


def _add_fetch(commands: Commands) -> None:
    parser = command(
        commands,
        "fetch",
        _fetch,
        about="copy shards from a bucket to local disk and check every byte",
        examples="  regionstack fetch gs://bucket/shards /local/shards\n"
        "then, on every host, train with --set shards.folder=/local/shards",
    )
    parser.add_argument("url", metavar="URL", help="folder of shard sets, at any URL that tf.io.gfile opens")
    parser.add_argument("folder", metavar="DIR", help="local folder to write; the same command resumes")


def _add_survey(commands: Commands) -> None:
    parser = command(
        commands,
        "survey",
        _survey,
        about="examine a data set: sizes, balance, duplicates, unreadable pages",
        examples="  regionstack survey --config my.yaml --out survey\n"
        "  regionstack survey --config my.yaml --sample 20000",
    )
    add_config_options(parser)
    parser.add_argument("--out", default="survey", metavar="DIR", help="folder to write (default: survey)")
    parser.add_argument("--sample", type=int, metavar="N", help="decode at most N pages")


def _draw(options: argparse.Namespace) -> int:
    from data_tools.drawn import draw_data_set
    from launch.terminal.page_progress import page_progress

    counts = {split: getattr(options, split) for split in ("train", "val", "test")}
    folder = new_folder(options.out)
    with page_progress("drawing") as progress:
        draw_data_set(folder, seed=options.seed, pages_per_class=counts, progress=progress)
    print_out(f"{options.out}: {16 * sum(counts.values())} pages of 16 classes")
    return 0


def _convert(options: argparse.Namespace) -> int:
    from launch.config import load_config
    from launch.recipe.prepare import ensure_shards

    config = load_config(options.config, options.set)
    ensure_shards(config)
    print_out(f"{config.shards.folder}: complete, and matches the configuration")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from launch.config import load_config
    from launch.recipe.prepare import verify_shards

    return verify_shards(load_config(options.config, options.set), deep=not options.quick)


def _fetch(options: argparse.Namespace) -> int:
    from data_tools.shards.fetch import fetch
    from launch.terminal.page_progress import page_progress

    folder = output_folder(options.folder)
    with page_progress("fetching") as progress:
        names = fetch(options.url, folder, progress=progress)
    print_out(f"{options.folder}: {len(names)} shard sets, complete and checked")
    return 0


def _survey(options: argparse.Namespace) -> int:
    from launch.config import load_config
    from launch.report.survey.page import survey_command

    config = load_config(options.config, options.set)
    return survey_command(config, output_folder(options.out), sample=options.sample)
