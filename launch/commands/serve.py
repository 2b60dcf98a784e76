"""The command `serve`: classify uploaded files over HTTP, and the page to drop a scan on."""

import argparse
from dataclasses import fields
from pathlib import Path

from launch.service.limits import Limits, option_of
from launch.terminal.console import Commands, command

_HELP = {
    "upload_mib": "MiB of one request",
    "files": "files in one request",
    "pages": "pages of one document",
    "megapixels": "millions of pixels of one page",
    "decode_s": "seconds to decode one page",
    "upload_s": "seconds in which the headers of a request must arrive, and then its body",
    "answer_s": "seconds from a request to its answer",
    "queue": "requests at once; more get status 429",
    "memory_mib": "MiB of all uploads at once; more get status 429",
}


def serve_commands(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = command(
        commands,
        "serve",
        _serve,
        about="answer over HTTP: classify uploaded files, and show a page to drop a scan on",
        examples="  regionstack serve runs/my\n"
        "  regionstack serve runs/my --replicas 2 --port 8001\n"
        "  regionstack serve runs/my --host 0.0.0.0 --token-file token.txt\n"
        "  curl -F file=@page.tif http://127.0.0.1:8000/predict",
    )
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("--model", default="stack", metavar="NAME", help="what answers: stack (all models, "
                        "the default) or distilled (the student of regionstack distill)")  # fmt: skip
    parser.add_argument("--host", default="127.0.0.1", help="address to serve (default: 127.0.0.1, this machine only)")
    parser.add_argument("--port", type=int, default=8000, help="port (default: 8000; 0: a free one)")
    parser.add_argument("--replicas", type=int, default=1, help="processes with the models (default: 1)")
    parser.add_argument("--decoders", type=int, help="processes that decode, of each replica (default: one a core)")
    parser.add_argument("--token-file", metavar="FILE", help="bearer token that requests need (or REGIONSTACK_TOKEN)")
    parser.add_argument("--without-token", action="store_true", help="serve other machines without a token")
    parser.add_argument("--address", metavar="HOST:PORT", help="Ray cluster to join (default: a private Ray)")
    limits = parser.add_argument_group("limits")
    for field in fields(Limits):
        limits.add_argument(
            f"--{option_of(field.name)}",
            dest=field.name,
            type=type(field.default),
            default=field.default,
            metavar="N",
            help=f"{_HELP[field.name]} (default: {field.default:g})",
        )


def _serve(options: argparse.Namespace) -> int:
    from launch.service.server import ServeOptions, serve

    limits = Limits(**{field.name: getattr(options, field.name) for field in fields(Limits)})
    return serve(
        ServeOptions(
            run=Path(options.run),
            model=options.model,
            host=options.host,
            port=options.port,
            replicas=options.replicas,
            decoders=options.decoders,
            token_file=options.token_file,
            without_token=options.without_token,
            address=options.address,
            limits=limits,
        )
    )
