"""``python -m serving``: the endpoint as a process."""

from __future__ import annotations

import logging
import os
import sys

from selfheal.errors import SelfhealError
from selfheal.heaps import share_heaps


def main() -> int:
    """Run until a signal ends it.

    Returns:
        The exit code: 0 ended by a signal, 1 failed, 2 wrong use, 3 no model and ``--once``.
    """
    share_heaps(2)
    # kserve reads flags of its own while it is imported, and says so in its own help.
    from kserve import model_server

    from serving.loader import Loader
    from serving.predictor import Predictor
    from serving.routes import EndpointDataPlane, Routes
    from serving.settings import make_parser, read_settings

    _log_to_stderr()
    try:
        arguments = make_parser(model_server.parser, os.environ).parse_args()
        settings = read_settings(arguments)
        predictor = Predictor(settings.model_name)
        loader = Loader(settings.source(), predictor.serve, every=settings.reload_seconds)
        if settings.once:
            loader.refresh()
    except SelfhealError as error:
        sys.stderr.write(f"serving: {error}\n")
        return error.exit_code
    server = model_server.ModelServer(
        http_port=arguments.http_port,
        grpc_port=arguments.grpc_port,
        max_threads=arguments.max_threads,
        max_asyncio_workers=arguments.max_asyncio_workers,
        enable_grpc=arguments.enable_grpc,
        enable_latency_logging=arguments.enable_latency_logging,
        access_log_format=arguments.access_log_format,
        event_loop=arguments.event_loop,
        timeout_keep_alive=arguments.timeout_keep_alive,
        ssl_certfile=arguments.ssl_certfile,
        ssl_keyfile=arguments.ssl_keyfile,
    )
    logging.getLogger("kserve.trace").setLevel(logging.WARNING)  # two lines a request, of what /metrics has as well
    plane = EndpointDataPlane(server.registered_models)
    server.dataplane = plane
    server.register_model(predictor)
    Routes(plane).register(model_server.app)
    if settings.reload_seconds or not settings.once:
        loader.start()
    server.start([])  # the model is registered already; kserve would refuse to start with one that is not ready
    loader.stop()
    return 0


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("serving", "selfheal"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False


if __name__ == "__main__":
    sys.exit(main())
