"""The command `labels`."""

import argparse
import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from data_tools.errors import UserError
from launch.commands.review import add_review_options, review, review_place, wants_review
from launch.labels.ranking import RANKING, SUMMARY, ranking_folder, read_ranking
from launch.terminal.console import Commands, command, print_err, print_out, tables
from launch.terminal.outputs import output_files

if TYPE_CHECKING:
    from launch.api import Run
    from launch.labels.judge_run import RunShards

EXAMPLES = """  regionstack labels runs/my                              rank all labels, the most suspicious first
  regionstack labels runs/my --retrain 5                  judge training pages by models that have not seen them
  regionstack labels runs/my --serve                      review the first pages, write corrections.csv
  regionstack labels runs/my --html review.html           the same as a file; decisions are downloaded
  regionstack labels runs/my --pool unlabelled/ --most 200   choose pages to label next"""


def add_labels(commands: Commands) -> None:
    """Add the command to the parser."""
    about = "rank the labels of a run by how likely they are wrong, or choose which pages to label next"
    parser = command(commands, "labels", _labels, about=about, examples=EXAMPLES)
    parser.add_argument("run", metavar="RUN", help="run folder of a finished run")
    parser.add_argument("--top", type=int, default=20, metavar="N", help="pages to print (default: 20; all are in the "
                        "ranking)")  # fmt: skip
    parser.add_argument("--retrain", type=int, metavar="K", help="train the whole-page model again for each of K folds "
                        "of the training pages, on the cluster that the run's configuration names (default: a "
                        "regression on features, or the folds of an earlier --retrain or of stack.folds)")  # fmt: skip
    parser.add_argument("--shards", metavar="DIR", help="folder of the run's shards (default: as recorded)")
    parser.add_argument("--pool", metavar="FOLDER", help="rank unlabelled pages of this folder instead")
    parser.add_argument("--most", type=int, default=200, metavar="N", help="pages to choose from the pool, and "
                        "to review (default: 200)")  # fmt: skip
    add_review_options(parser)
    parser.epilog = (
        f"{parser.epilog}\n\ndocs/wrong_labels.md explains scores, files and corrections, docs/review.md the review"
    )


def _labels(options: argparse.Namespace) -> int:
    for name, least in (("top", 0), ("most", 1)):
        if getattr(options, name) < least:
            raise UserError(f"--{name} {getattr(options, name)}: must be at least {least}")
    if options.pool is not None and options.retrain is not None:
        raise UserError("--retrain: judges labels, and a --pool has none; give one of them")
    if not wants_review(options):
        return _make(options)
    with output_files(options.html) as (html,):
        place = review_place(options)
        status = 0 if _is_made(options) else _make(options)
        return status or review(options, pool=options.pool is not None, html=html, place=place)


def _is_made(options: argparse.Namespace) -> bool:
    """Whether the run has a ranking for these options, so that a review can continue with it."""
    if options.retrain is not None or options.shards is not None:
        return False
    folder = ranking_folder(Path(options.run), pool=options.pool is not None)
    if not (folder / SUMMARY).exists():
        return False
    try:
        summary = read_ranking(folder, most=options.most).summary
    except UserError as error:
        print_err(f"making the ranking anew: {error}")
        return False
    made = options.pool is None or Path(summary.get("root", "")) == Path(options.pool).absolute()
    if made:
        date = datetime.datetime.fromtimestamp(summary["created"]).astimezone()
        print_err(f"ranking of {date:%Y-%m-%d %H:%M}; the command without --serve and --html makes it anew")
    return made


def _make(options: argparse.Namespace) -> int:
    from launch.api import open_run
    from launch.labels.judge_run import run_shards
    from trainer.serving.ensemble import open_stack

    run = open_run(options.run)
    open_stack(run.folder)  # a run that is not finished is an error before anything takes minutes
    shards = run_shards(run, None if options.shards is None else Path(options.shards))
    return _choose_next(run, shards, options) if options.pool is not None else _rank(run, shards, options)


def _rank(run: "Run", shards: "RunShards", options: argparse.Namespace) -> int:
    from launch.labels.folds import fold_config, trained_folds
    from launch.labels.judge_run import judge_run
    from launch.labels.tables import page_table, pair_table, split_table
    from launch.train_all import train_all

    if options.retrain is not None:
        folder = shards.of("train").folder.parent.parent
        status = train_all(fold_config(run.config, run.folder, folds=options.retrain, shards=folder))
        if status:
            return status
    summary, folder = judge_run(run, shards=shards, folds=trained_folds(run.folder))
    console = tables()
    console.print(split_table(summary))
    pairs = pair_table(summary)
    if pairs is not None:
        console.print(pairs)
    console.print(page_table(summary, read_ranking(folder, most=options.top).pages))
    if run.config.model.weights == "none" and summary["splits"]["train"]["outputs"] == "features":
        print_out("note: this run has no start weights, so training pages are judged by features of random ones; "
                  "--retrain 5 judges them by trained models")  # fmt: skip
    print_out(f"ranking: {folder / RANKING}")
    return 0


def _choose_next(run: "Run", shards: "RunShards", options: argparse.Namespace) -> int:
    from launch.labels.pool import rank_pool
    from launch.labels.tables import page_table

    summary, folder, pool = rank_pool(run, Path(options.pool), most=options.most, shards=shards)
    tables().print(page_table(summary, read_ranking(folder, most=options.top).pages))
    left = (
        f"{pool.labelled} files are labelled in this run, {pool.rejected} pages cannot be read, {pool.blank} are blank"
    )
    print_out(f"chosen: {summary['pages']} of {len(pool.ids)} pages; {left}")
    print_out(f"ranking: {folder / RANKING}")
    return 0
