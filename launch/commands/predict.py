"""The command `predict`."""

import argparse
from pathlib import Path

from data_tools.errors import UserError
from launch.terminal.console import Commands, command

EXAMPLES = """  regionstack predict runs/my page.tif other.png
  regionstack predict runs/my scans/ --csv answers.csv
  regionstack predict runs/my scans/ --csv answers.csv --model distilled
  regionstack predict runs/my scans/ --csv answers.csv --resume        after an interrupt
  regionstack predict runs/my 'scans/**/*.tif' contract.pdf --html answers.html
  find scans -name '*.tif' | regionstack predict runs/my - --jsonl - --all
  regionstack predict runs/my @list.txt --csv answers.csv --address auto"""


def add_predict(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = command(commands, "predict", _predict, about="classify pages with the models of a run", examples=EXAMPLES)
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE",
        help="image files and documents, folders (searched recursively), globs, @FILE (a list, one path a line), - (a "
        "list on standard input)",
    )  # fmt: skip
    for kind, what in (
        ("csv", "a row for each page"),
        ("jsonl", "a JSON object a line"),
        ("json", "one JSON object with all answers"),
        ("html", "a page with pictures of the first answers and of those to review"),
    ):
        parser.add_argument(f"--{kind}", metavar="FILE", help=f"write {what} (-: standard output)")
    parser.add_argument("--model", default="stack", metavar="NAME", help="what answers: stack (all models, "
                        "the default) or distilled (the student of regionstack distill)")  # fmt: skip
    parser.add_argument("--all", action="store_true", help="also write the probabilities of all classes, by model")
    parser.add_argument("--resume", action="store_true", help="continue the files of an interrupted predict")
    parser.add_argument("--gpus", type=int, metavar="N", help="GPUs to use (0: none; default: the first, or all of a "
                        "cluster)")  # fmt: skip
    parser.add_argument("--workers", type=int, metavar="N", help="decoding processes on each host (default: its cores)")
    parser.add_argument("--address", metavar="HOST:PORT", help="Ray cluster on whose hosts to classify (auto: the one "
                        "that runs here; default: RAY_ADDRESS, or this process)")  # fmt: skip
    parser.epilog = f"{parser.epilog}\n\nexit status: 0 all read, 3 some rejected, 2 none; docs/predict.md"


def _predict(options: argparse.Namespace) -> int:
    from launch.predict.engine import Resources
    from launch.predict.run import OUTPUTS, Request, predict

    for name, least in (("gpus", 0), ("workers", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise UserError(f"--{name} {value}: must be at least {least}")
    outputs = {kind: getattr(options, kind) for kind in OUTPUTS}
    return predict(
        Request(
            run=Path(options.run),
            model=options.model,
            sources=options.sources,
            outputs={kind: name for kind, name in outputs.items() if name is not None},
            probabilities=options.all,
            resume=options.resume,
            resources=Resources(options.gpus, options.workers, options.address),
        )
    )
