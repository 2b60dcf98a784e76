"""The command that starts: init."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from launch.terminal.console import Commands, command, print_note, print_out

if TYPE_CHECKING:
    from launch.recipe.first_config import FirstConfig

WARNINGS_SHOWN = 5


def init_commands(commands: Commands) -> None:
    """Add `init` to the parser."""
    parser = command(
        commands,
        "init",
        _init,
        about="look at your pages and labels and write a configuration for them, my.yaml",
        examples="  regionstack init /data/scans                 folders of pages, or label files in it\n"
        "  regionstack init /data/all.csv --root /data/scans\n"
        "  regionstack init /data/scans --preset small_data     about 1,000 pages, without a GPU\n"
        "  regionstack init /data/scans --out scans.yaml --force",
    )
    parser.add_argument("source", metavar="FOLDER|FILE", help="folder of pages, label file, or CSV or TSV table")
    parser.add_argument("--out", default="my.yaml", metavar="FILE", help="file to write (default: my.yaml)")
    parser.add_argument("--root", metavar="DIR", help="folder that the paths of a list are relative to")
    parser.add_argument(
        "--preset", default="rvl_cdip", metavar="PRESET", help="recipe to start from (default: rvl_cdip)"
    )
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")


def _init(options: argparse.Namespace) -> int:
    from data_tools.errors import UserError
    from data_tools.files import write_atomically
    from launch.config import preset_names
    from launch.recipe.first_config import first_config, run_name
    from launch.terminal.outputs import output_files

    if Path(options.out).is_file() and not options.force:
        raise UserError(f"{options.out}: exists; choose another --out, or replace it with --force")
    if options.preset not in preset_names():
        raise UserError(f"--preset {options.preset}: is not one of {', '.join(preset_names())}")
    source, root = Path(options.source), None if options.root is None else Path(options.root)
    with output_files(options.out) as (out,):
        made = first_config(source, name=run_name(source), preset=options.preset, root=root)
        if out is not None:
            write_atomically(out, made.text)
        _report(made, options.out)
    return 0


def _report(made: FirstConfig, out: str) -> None:
    """Print what was found, and the next commands."""
    data = made.data_set
    print_out(f"found {made.discovery.kind}")
    print_out(f"pages: {', '.join(f'{len(labels)} {split}' for split, labels in data.labels.items())}")
    shown = ", ".join(data.class_names[:8]) + (", ..." if data.class_names[8:] else "")
    print_out(f"classes: {len(data.class_ids)} ({shown})")
    for warning in data.label_warnings[:WARNINGS_SHOWN]:
        print_note(f"{warning.split}: {f'{warning.page_id} ' if warning.page_id else ''}{warning.detail}")
    if len(data.label_warnings) > WARNINGS_SHOWN:
        print_note(f"and {len(data.label_warnings) - WARNINGS_SHOWN} more, which regionstack survey lists")
    print_out(
        f"wrote {out}; next:\n"
        f"  regionstack survey    --config {out}   examine the pages\n"
        f"  regionstack train-all --config {out}   convert, train everything, and write the report"
    )
