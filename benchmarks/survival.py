"""
Which records survive: OpenTelemetry's batch processor with OTLP/HTTP beside otel-llm, with the same receiver.

    python benchmarks/survival.py [--quick]

Both get the same records through the SDK's logger, with the defaults of each. A record counts as emitted when `emit`
has returned. What otel-llm's process left behind is delivered by `otel-llm journal drain`, as the next start would.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from table import machine, render

SURVIVOR = Path(__file__).with_name("survivor.py")
KINDS = ("sdk", "otel-llm")
SLOW_SECONDS = 0.2


class Outcome(NamedTuple):
    """
    What became of one process's records.
    """

    emitted: int
    arrived: int
    """Different records that arrived while the process lived, or as it ended."""
    drained: int
    """Different records that have arrived once its journal was drained."""
    twice: int
    """Records that arrived more than once."""


class Receiver:
    """
    Takes records by OTLP and by webhook, and notes their numbers; it can be slow, and it can be gone.
    """

    def __init__(self) -> None:
        self.numbers: Counter[int] = Counter()
        self.delay = 0.0
        self._lock = threading.Lock()
        self._server = self._listen(0)
        self.port = self._server.server_port

    def take(self, path: str, body: bytes) -> None:
        """
        Note what one request holds.
        """
        time.sleep(self.delay)
        read = _otlp_numbers if path == "/v1/logs" else _json_numbers
        with self._lock:
            self.numbers.update(read(body))

    def vanish(self) -> None:
        """
        Refuse connections.
        """
        self._server.shutdown()
        self._server.server_close()

    def return_(self) -> None:
        """
        Listen again where it was.
        """
        self._server = self._listen(self.port)

    def _listen(self, port: int) -> ThreadingHTTPServer:
        server = _Server(("127.0.0.1", port), partial(_Handler, self))
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"  # a connection for each request, so that vanishing is noticed

    def __init__(self, receiver: Receiver, *args: Any) -> None:
        self._receiver = receiver
        super().__init__(*args)

    def do_POST(self) -> None:
        self._receiver.take(self.path, self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        pass


def _otlp_numbers(body: bytes) -> Iterator[int]:
    request = ExportLogsServiceRequest.FromString(body)
    for resource in request.resource_logs:
        for scope in resource.scope_logs:
            for record in scope.log_records:
                yield next(pair.value.int_value for pair in record.attributes if pair.key == "number")


def _json_numbers(body: bytes) -> Iterator[int]:
    return (record["attributes"]["number"] for record in json.loads(body))


class Writer:
    """
    A process that emits, and the numbers it says it has emitted.
    """

    def __init__(
        self, kind: str, receiver: Receiver, folder: Path, *, records: int, rate: float, processes: int
    ) -> None:
        self._kind = kind
        self._environ = _environ(receiver.port, folder)
        url = f"http://127.0.0.1:{receiver.port}/v1/logs"
        self.process = subprocess.Popen(
            [sys.executable, str(SURVIVOR), kind, url, str(records), str(rate), str(processes)],
            env=self._environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.emitted: set[int] = set()

    def read(self, count: int | None = None) -> None:
        """
        Wait until so many records have been emitted; without a number, until no more come.
        """
        assert self.process.stdout is not None
        while count is None or len(self.emitted) < count:
            line = self.process.stdout.readline()
            if not line:
                return
            self.emitted.add(int(line))

    def kill(self, number: int) -> None:
        """
        End the process by a signal, and count what it had emitted by then.
        """
        self.process.send_signal(number)
        self.read()
        self.process.wait()

    def leave(self) -> None:
        """
        Let the process end as programs do.
        """
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.read()
        self.process.wait()

    def drain(self) -> None:
        """
        Deliver what otel-llm's process left.
        """
        if self._kind == "otel-llm":
            command = [sys.executable, "-m", "otel_llm.cli.main", "journal", "drain"]
            subprocess.run(command, env=self._environ, stdout=subprocess.DEVNULL, check=True)


Ending = Callable[[Writer, Receiver], None]


class Scenario(NamedTuple):
    """
    How much is emitted, and what happens then.
    """

    name: str
    end: Ending
    records: int
    rate: float
    processes: int = 1
    gone: bool = False
    """Whether nobody listens at first."""
    slow: bool = False


def scenarios(*, outage: float, records: int) -> list[Scenario]:
    """
    Give all scenarios.
    """
    return [
        Scenario("kill -9 in the middle", partial(_killed, signal.SIGKILL, records // 2), records, 500),
        Scenario("SIGTERM in the middle", partial(_killed, signal.SIGTERM, records // 2), records, 500),
        Scenario("4 forked children, os._exit", _left, records, 1000, processes=4),
        Scenario(f"receiver gone for {outage:g} s", _returned, round(100 * outage), 100, gone=True),
        Scenario("a burst of 20 SDK queues, slow receiver", _left, 20 * 2048, 1e9, slow=True),
    ]


def _killed(number: signal.Signals, after: int, writer: Writer, _receiver: Receiver) -> None:
    writer.read(after)
    writer.kill(number)


def _left(writer: Writer, _receiver: Receiver) -> None:
    writer.leave()


def _returned(writer: Writer, receiver: Receiver) -> None:
    records = writer.process.args[4]  # type: ignore[index]
    writer.read(int(records))
    receiver.return_()
    writer.leave()


def run(scenario: Scenario, kind: str) -> Outcome:
    """
    Let one process live through a scenario.
    """
    with _receiver() as receiver, tempfile.TemporaryDirectory(prefix="otel-llm-survival-") as folder:
        if scenario.gone:
            receiver.vanish()
        receiver.delay = SLOW_SECONDS if scenario.slow else 0.0
        how_much = {"records": scenario.records, "rate": scenario.rate, "processes": scenario.processes}
        writer = Writer(kind, receiver, Path(folder), **how_much)
        scenario.end(writer, receiver)
        arrived = len(writer.emitted & receiver.numbers.keys())
        receiver.delay = 0.0
        writer.drain()
        drained = len(writer.emitted & receiver.numbers.keys())
        twice = sum(count > 1 for count in receiver.numbers.values())
    return Outcome(len(writer.emitted), arrived, drained, twice)


@contextmanager
def _receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.vanish()


def _environ(port: int, folder: Path) -> dict[str, str]:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return bare | {
        "OTEL_SERVICE_NAME": "survivor",
        "OTEL_LLM_SINKS": "webhook",
        "OTEL_LLM_WEBHOOK_URL": f"http://127.0.0.1:{port}/hook",
        "OTEL_LLM_WEBHOOK_COMPRESSION": "none",
        "OTEL_LLM_JOURNAL_DIR": str(folder / "journal"),
    }


def _share(part: int, of: int) -> str:
    return f"{part:,} ({100 * part / of:.1f} %)"


def main() -> None:
    """
    Run everything and print the table.
    """
    parser = argparse.ArgumentParser(description="Which records survive.")
    parser.add_argument("--quick", action="store_true", help="few records, a short outage")
    parser.add_argument("--outage", type=float, default=60.0, metavar="SECONDS")
    args = parser.parse_args()
    wanted = scenarios(outage=12.0 if args.quick else args.outage, records=600 if args.quick else 2000)
    print(f"{machine()}\n", flush=True)
    rows = []
    for scenario in wanted:
        with ThreadPoolExecutor() as pool:
            sdk, ours = pool.map(partial(run, scenario), KINDS)
        rows.append(
            [
                scenario.name,
                f"{sdk.emitted:,}",
                _share(sdk.drained, sdk.emitted),
                f"{ours.emitted:,}",
                _share(ours.arrived, ours.emitted),
                _share(ours.drained, ours.emitted),
                str(ours.twice),
            ]
        )
    head = ("", "emitted", "SDK: arrived", "emitted", "otel-llm: at the end", "after the next start", "twice")
    print(render(head, rows))


if __name__ == "__main__":
    main()
