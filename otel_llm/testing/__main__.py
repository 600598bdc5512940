"""
Runs the provider server until it is interrupted, and prints the variables that point the SDKs to it.
"""

import argparse
import signal

from otel_llm.testing.reply import Reply
from otel_llm.testing.server import ProviderServer


def main() -> None:
    """
    Serve until SIGINT or SIGTERM.
    """
    parser = argparse.ArgumentParser(prog="python -m otel_llm.testing", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before an answer begins")
    parser.add_argument("--chunk-delay", type=float, default=0.0, help="seconds between two stream chunks")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ProviderServer(
        port=options.port, default=Reply(first_byte_delay=options.delay, chunk_delay=options.chunk_delay)
    ) as server:
        for name, value in server.environment.items():
            print(f"export {name}={value}", flush=True)  # noqa: T201 - it is for `eval`
        _until_interrupted()


def _until_interrupted() -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
