"""
What a record takes to become bytes, format by format, beside OpenTelemetry's own encoder of OTLP.

    python benchmarks/formats.py [--quick]

Each event has been read from a journal, as a courier gets it after a restart; requests hold 500 records.
"""

import argparse
import os
import statistics
import sys
from collections.abc import Callable

from calibration import timed
from google.protobuf.json_format import MessageToJson
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from sinks import BATCH, Sample
from table import machine, number, render

from otel_llm.formats import FORMATS, Format
from otel_llm.telemetry.event import Event

GOAL = 0.5


class Bench:
    """
    So many rounds over a batch of one real call's records.
    """

    def __init__(self, *, rounds: int) -> None:
        self._rounds = rounds
        sample = Sample()
        self._events = [Event.decode(event.encode()) for event in sample.events(BATCH)]
        self._records = [sample.record] * BATCH

    def ours(self, form: Format) -> tuple[float, int]:
        """
        Give microseconds per record, and its bytes.
        """
        join = form.join or b"\n".join

        def encode() -> bytes:
            return join([form.encode(event) for event in self._events])

        return self._per_record(encode), len(form.encode(self._events[0]))

    def official(self, *, as_json: bool) -> float:
        """
        Give what OpenTelemetry's encoder takes for the same records; it has no JSON, so protobuf's has to do.
        """

        def encode() -> object:
            request = encode_logs(self._records)
            return MessageToJson(request) if as_json else request.SerializeToString()

        return self._per_record(encode)

    def _per_record(self, encode: Callable[[], object]) -> float:
        encode()
        rounds = [timed(lambda _: encode() and None, BATCH) for _ in range(self._rounds)]
        return statistics.median(timing.inline for timing in rounds)


def main() -> None:
    """
    Measure and print.
    """
    parser = argparse.ArgumentParser(description="What a record takes to become bytes.")
    parser.add_argument("--quick", action="store_true", help="few rounds")
    bench = Bench(rounds=5 if parser.parse_args().quick else 25)
    official = {"otlp_proto": bench.official(as_json=False), "otlp_json": bench.official(as_json=True)}
    rows = []
    for name, form in FORMATS.items():
        micros, size = bench.ours(form)
        beside = official.get(name)
        rows.append(
            [name, number(micros), number(beside), "-" if beside is None else f"{micros / beside:.2f}", f"{size:,}"]
        )
    head = ("format", "µs per record", "OpenTelemetry's", f"ratio (goal {GOAL})", "bytes")
    print(f"{machine()}\n\n{render(head, rows)}")
    sys.stdout.flush()
    os._exit(0)  # nothing is to be delivered any more


if __name__ == "__main__":
    main()
