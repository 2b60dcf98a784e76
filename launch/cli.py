"""The command line: `regionstack COMMAND`. Each command imports what it needs only when it runs."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from launch.cli_cluster import cluster_commands
from launch.console import Commands, Handler, HelpFormatter, add_config_options, command, guarded, say, tables

ABOUT = """Train document-image classifiers on many GPUs: a model of the whole page, one model per region of
the page, all regions at once, and a small classifier stacked on their outputs."""

FLOW = """the usual order:
  regionstack survey    --config my.yaml      look at the pages before anything else
  regionstack convert   --config my.yaml      pages to sharded TFRecords, once
  regionstack plan      --config my.yaml      what the whole recipe would take, here or on GPUs to come
  regionstack doctor    --config my.yaml      whether this host (--cluster: every host) is fit for it
  regionstack train-all --config my.yaml      everything else, up to the report; the same command resumes
  regionstack status    runs/my               where it stands, also from another terminal
  regionstack predict   runs/my page.tif      what the trained models say of a page

my.yaml starts as one line, `preset: rvl_cdip`; all settings: docs/configuration.md"""

def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `regionstack`; returns the exit status: 0, 2 for an error that the user can mend."""
    options = build_parser().parse_args(arguments)
    handler: Handler = options.handler
    return guarded(lambda: handler(options))


def build_parser() -> argparse.ArgumentParser:
    """All commands with their options, help and examples."""
    parser = argparse.ArgumentParser(
        prog="regionstack", description=ABOUT, epilog=FLOW, formatter_class=HelpFormatter
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _data_commands(commands)
    cluster_commands(commands)
    _training_commands(commands)
    _run_commands(commands)
    return parser


def _data_commands(commands: Commands) -> None:
    draw = command(
        commands,
        "draw",
        _draw,
        about="draw a demo data set of 16 classes",
        examples="  regionstack draw --out demo/pages\n  regionstack draw --out small --train 20 --val 5 --test 5",
    )
    draw.add_argument("--out", default="demo/pages", metavar="DIR", help="folder to make (default: demo/pages)")
    draw.add_argument("--seed", type=int, default=1, help="same seed, same bytes (default: 1)")
    for split, count in (("train", 200), ("val", 50), ("test", 60)):
        draw.add_argument(
            f"--{split}", type=int, default=count, metavar="N", help=f"pages a class in {split} (default: {count})"
        )
    convert = command(
        commands,
        "convert",
        _convert,
        about="convert pages to sharded TFRecords, one set per region",
        examples="  regionstack convert --config my.yaml\n"
        "  regionstack convert --config rvl_cdip --set data.root=/data/rvl-cdip/images\n"
        "on all hosts of a Ray cluster:\n"
        "  regionstack convert --config my.yaml --set cluster.address=HEAD:6379",
    )
    add_config_options(convert)
    verify = command(
        commands,
        "verify",
        _verify,
        about="check shards against their manifests, every byte",
        examples="  regionstack verify --config my.yaml\n  regionstack verify --config my.yaml --quick",
    )
    add_config_options(verify)
    verify.add_argument("--quick", action="store_true", help="sizes and counts only, no checksums")
    fetch = command(
        commands,
        "fetch",
        _fetch,
        about="copy shards from a bucket to local disk, every byte checked",
        examples="  regionstack fetch gs://bucket/shards /local/shards\n"
        "then on every host: --set shards.folder=/local/shards",
    )
    fetch.add_argument("url", metavar="URL", help="folder of shard sets; whatever tf.io.gfile opens")
    fetch.add_argument("folder", metavar="DIR", help="local folder to write; the same command again goes on")
    survey = command(
        commands,
        "survey",
        _survey,
        about="look at a data set: sizes, balance, duplicates, bad pages",
        examples="  regionstack survey --config my.yaml --out survey\n"
        "  regionstack survey --config my.yaml --sample 20000",
    )
    add_config_options(survey)
    survey.add_argument("--out", default="survey", metavar="DIR", help="folder to write (default: survey)")
    survey.add_argument("--sample", type=int, metavar="N", help="decode at most N pages")


def _training_commands(commands: Commands) -> None:
    everything = command(
        commands,
        "train-all",
        _train_all,
        about="train the whole recipe and write its report",
        examples="  regionstack train-all --config demo\n"
        "  regionstack train-all --config my.yaml --set cluster.workers_per_region=2\n"
        "on a cluster:\n  ray submit cluster.yaml launch/train_all.py -- --config my.yaml",
    )
    add_config_options(everything)
    one = command(
        commands,
        "train",
        _train,
        about="train one stage of one model in this process",
        examples="  regionstack train --config my.yaml --stage holistic_128\n"
        "with several workers:\n"
        "  horovodrun -np 4 python launch/train.py --config my.yaml --stage regions --region top",
    )
    add_config_options(one)
    one.add_argument("--stage", required=True, help="name of a stage in the configuration")
    one.add_argument("--region", help="region, for a stage that trains one model for each")


def _run_commands(commands: Commands) -> None:
    status = command(
        commands,
        "status",
        _status,
        about="show where a run stands, from its folder alone",
        examples="  regionstack status runs/my",
    )
    report = command(
        commands,
        "report",
        _report,
        about="write a run's report.html and metrics.json anew",
        examples="  regionstack report runs/my",
    )
    evaluate = command(
        commands,
        "evaluate",
        _evaluate,
        about="score a run's trained models on a split",
        examples="  regionstack evaluate runs/my\n  regionstack evaluate runs/my --split val --shards shards/other",
    )
    predict = command(
        commands,
        "predict",
        _predict,
        about="classify pages with a run's trained models",
        examples="  regionstack predict runs/my page.tif other.png\n"
        "  regionstack predict runs/my scans/*.tif --html page.html --json page.json",
    )
    export = command(
        commands,
        "export",
        _export,
        about="write a run's models and stack as one SavedModel that loads without this project",
        examples="  regionstack export runs/my\n  regionstack export runs/my --to model --shards moved/shards",
    )
    for parser in (status, report, evaluate, predict, export):
        parser.add_argument("run", metavar="RUN", help="run folder")
    evaluate.add_argument("--split", default="test", choices=("train", "val", "test"), help="split (default: test)")
    evaluate.add_argument("--shards", metavar="DIR", help="other shards of the same geometry (default: the run's own)")
    predict.add_argument("pages", nargs="+", metavar="PAGE", help="image files")
    predict.add_argument("--html", metavar="FILE", help="write a page with pictures")
    predict.add_argument("--json", metavar="FILE", help="write all probabilities")
    export.add_argument("--to", metavar="DIR", help="folder to write (default: RUN/export)")
    export.add_argument("--shards", metavar="DIR", help="the run's shards, where they were moved")


def _draw(options: argparse.Namespace) -> int:
    from data_tools.drawn import draw_data_set
    from launch.progress import page_progress

    counts = {split: getattr(options, split) for split in ("train", "val", "test")}
    with page_progress("drawing") as progress:
        draw_data_set(Path(options.out), seed=options.seed, pages_per_class=counts, progress=progress)
    say(f"{options.out}: {16 * sum(counts.values())} pages of 16 classes")
    return 0


def _convert(options: argparse.Namespace) -> int:
    from launch.config import load_config
    from launch.prepare import ensure_shards

    config = load_config(options.config, options.set)
    ensure_shards(config)
    say(f"{config.shards.folder}: complete, and as the configuration says")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from launch.config import load_config
    from launch.prepare import verify_shards

    return verify_shards(load_config(options.config, options.set), deep=not options.quick)


def _fetch(options: argparse.Namespace) -> int:
    from data_tools.fetch import fetch
    from launch.progress import page_progress

    with page_progress("fetching") as progress:
        names = fetch(options.url, Path(options.folder), progress=progress)
    say(f"{options.folder}: {len(names)} shard sets, complete and checked")
    return 0


def _survey(options: argparse.Namespace) -> int:
    from launch.config import load_config
    from launch.survey_page import survey_command

    return survey_command(load_config(options.config, options.set), Path(options.out), sample=options.sample)


def _train_all(options: argparse.Namespace) -> int:
    from launch.config import load_config
    from launch.train_all import train_all

    return train_all(load_config(options.config, options.set))


def _train(options: argparse.Namespace) -> int:
    from launch.config import load_config
    from launch.train import train

    return train(load_config(options.config, options.set), options.stage, options.region)


def _status(options: argparse.Namespace) -> int:
    from launch.status import print_status, read_status

    print_status(read_status(Path(options.run)), tables())
    return 0


def _report(options: argparse.Namespace) -> int:
    from launch.report import write_report

    say(f"report: {write_report(Path(options.run))}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from launch.score import evaluate

    return evaluate(Path(options.run), split=options.split, shards=options.shards)


def _predict(options: argparse.Namespace) -> int:
    from launch.score import predict

    html, json_file = (Path(path) if path else None for path in (options.html, options.json))
    return predict(Path(options.run), [Path(page) for page in options.pages], html=html, json_file=json_file)


def _export(options: argparse.Namespace) -> int:
    from trainer.export import export

    to, shards = (Path(path) if path else None for path in (options.to, options.shards))
    folder = export(Path(options.run), to, shards=shards)
    say(f"{folder}: checked against the run's test predictions; export.json says how to load it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
