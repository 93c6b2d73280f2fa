"""``dptr serve``: serve recognizers over HTTP, with a web page."""

from __future__ import annotations

import os

import click

from dptr.cli.command import command
from dptr.cli.options import (
    ISOLATE,
    choose_recognizer,
    detector_option,
    device_options,
    language_option,
    server_options,
)
from dptr.utils.terminal import say
from dptr.weights import DEFAULT_MODEL


@command("serve", "serve")
@click.option(
    "-m", "--model", "models", metavar="NAME|DIR|ONNX", multiple=True, type=click.Path(),
    help=f"A model to serve; repeatable; requests use the first unless they name another. Default: {DEFAULT_MODEL}.",
)  # fmt: skip
@language_option("Serve")
@click.option(
    "--charset", "charsets", metavar="FILE", multiple=True, type=click.Path(),
    help="A charset that requests may name, besides those of DPTR: serials.txt is serials; repeatable.",
)  # fmt: skip
@server_options()
@detector_option()
@click.option("--max-megapixels", metavar="N", type=float, default=50, help="Largest picture or page. Default: 50.")
@click.option(
    "--max-pictures", metavar="N", type=int, default=64, help="Most files and pages in a request. Default: 64."
)
@click.option("--queue", metavar="N", type=int, default=256, help="Most pictures that wait. Default: 256.")
@click.option(
    "--timeout", metavar="S", type=float, default=120, help="Seconds until a request times out. Default: 120."
)
@click.option("--isolate/--no-isolate", default=True, help=f"{ISOLATE} Default: --isolate.")
@click.option("--log", is_flag=True, help="Log a line for each request: its sender, path, and status.")
@device_options()
def serve(
    models: tuple[str, ...], language: str | None, charsets: tuple[str, ...], host: str, port: int, detector: str,
    max_megabytes: float, max_megapixels: float, max_pictures: int, queue: int, timeout: float, isolate: bool,
    log: bool, device: str, batch_size: int,
) -> None:  # fmt: skip
    """Serve recognizers over HTTP, with a web page.

    / is the page, and /docs describes the API. Pictures of concurrent requests are read in common batches. Pictures are
    neither stored nor logged. Ctrl-C, SIGTERM, and SIGHUP stop the server after the running requests.

    By default, only this machine can connect. To listen on other addresses, set the environment variable DPTR_TOKENS to
    one or more secrets; each request must then carry one of them.
    """
    from dptr.inference.reader import ReaderOptions
    from dptr.photo.detect import open_detector
    from dptr.serve.app import create_app
    from dptr.serve.guard import TOKENS, check_address, parse_tokens
    from dptr.serve.limits import Limits
    from dptr.serve.recognizers import Recognizers, open_charsets, open_models
    from dptr.serve.server import address_of, bind
    from dptr.serve.server import serve as run
    from dptr.utils.arenas import limit_arenas
    from dptr.utils.isolation import Isolation, call_here

    limit_arenas()
    tokens = parse_tokens(os.environ.get(TOKENS, ""))
    check_address(host, tokens)
    served = models or (DEFAULT_MODEL,)
    if language is not None:
        served = (choose_recognizer(models[0] if models else None, language),)
    own_charsets = open_charsets(charsets)
    limits = Limits(megabytes=max_megabytes, pixels=max_megapixels, pictures=max_pictures, queue=queue, seconds=timeout)
    call = Isolation(workers=min(4, os.cpu_count() or 1)).call if isolate else call_here
    readers = open_models(served, ReaderOptions(device, batch_size))
    recognizers = Recognizers(readers, open_detector(detector, device), call, device, own_charsets)
    bound = bind(host, port)
    say(f"dptr: serving {', '.join(recognizers.models)} on {address_of(bound)} (Ctrl-C stops)")
    run(create_app(recognizers, limits, tokens), bound, timeout, log)
    say("dptr: stopped")
