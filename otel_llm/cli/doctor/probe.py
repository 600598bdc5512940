"""
Each sink opened, given one test record, and closed.
"""

import asyncio
import inspect
import re
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

from otel_llm import plugins
from otel_llm.cli.doctor.findings import Finding, Section, of_problems, section
from otel_llm.cli.doctor.settings import is_private
from otel_llm.delivery.setup import sink_spec
from otel_llm.delivery.sink import Batch, Delivered, Outcome, Record, Rejected, Retry
from otel_llm.errors import MissingExtra, SettingsError, UnknownPlugin
from otel_llm.settings import SinkSettings
from otel_llm.settings.sources import environment_prefix
from otel_llm.telemetry.event import EVENT_NAME, Event, new_event_id

SECONDS: Final = 15.0
"""How long a sink may take for the test record."""

MODEL: Final = "otel-llm-doctor"
"""The model of the test record, by which it is found again."""


def sinks(used: Iterable[SinkSettings], *, probe: bool = True) -> Section:
    """
    Check the options of each sink and, when probing, hand it a test record.
    """
    return section("Sinks", [finding for sink in used for finding in _sink(sink, probe=probe)])


def test_event() -> Event:
    """
    Make a record that is complete, and plainly a test.
    """
    now, event_id = time.time_ns(), new_event_id()
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "otel_llm",
        "gen_ai.request.model": MODEL,
        "otel_llm.event.id": event_id,
        "otel_llm.event.type": "api_call",
        "otel_llm.status": "success",
        "otel_llm.attempts": 1,
        "otel_llm.duration": 0.0,
        "otel_llm.start_time_unix_nano": now,
        "otel_llm.usage_source": "absent",
    }
    return Event(event_id, EVENT_NAME, now, now, 9, "INFO", attributes)


test_event.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for a test


def _sink(sink: SinkSettings, *, probe: bool) -> Iterator[Finding]:
    try:
        made = plugins.make_sink(sink)
    except SettingsError as error:
        yield from of_problems(error.problems, environment_prefix(sink.name))
    except (MissingExtra, UnknownPlugin) as error:
        command = re.search(r"pip install \S+", str(error))
        yield Finding(
            "problem", f"{sink.name}: {error}", command[0] if command else f"pip install -U otel-llm  # {sink.type}"
        )
    else:
        yield _probe(sink, made) if probe else Finding("ok", f"{sink.name}: its options are right (not probed)")


def _probe(sink: SinkSettings, made: Any) -> Finding:
    event = test_event()
    spec = sink_spec(sink)
    probe = _Probe(made, Batch((Record(event, spec.encoder(event), spec.content_type),)))
    started = time.perf_counter()
    outcome = probe.run()
    took = round((time.perf_counter() - started) * 1000)
    if isinstance(outcome, Delivered):
        return Finding("ok", f"{sink.name} took the test record {event.id} in {took} ms (model {MODEL})")
    return Finding(
        "problem", f"{sink.name}: {_hidden(sink, _refusal(outcome))}", "otel-llm doctor --json  # once it is reachable"
    )


def _refusal(outcome: Outcome | BaseException | None) -> str:
    if outcome is None:
        return f"no answer within {SECONDS:.0f} s"
    if isinstance(outcome, Rejected):
        return f"refused the test record: {outcome.reason}"
    if isinstance(outcome, BaseException):
        return f"{type(outcome).__name__}: {outcome}"
    told = f": {outcome.reason}" if isinstance(outcome, Retry) and outcome.reason else ""
    return f"could not take the test record now{told}"


def _hidden(sink: SinkSettings, text: str) -> str:
    """Take out the sink's secrets: a client's error may quote what it was given."""
    secrets = [str(value) for name, value in sink.options.items() if is_private(name) and str(value)]
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "********")
    return re.sub(r"(://)[^/@\s]+@", r"\1***@", text)


class _Probe:
    """One sink's test, in a thread of its own: a sink may block, or never come back."""

    def __init__(self, sink: Any, batch: Batch) -> None:
        self.sink = sink
        self.batch = batch
        self.outcome: Outcome | BaseException | None = None

    def run(self) -> Outcome | BaseException | None:
        thread = threading.Thread(target=self.work, name="otel-llm-doctor", daemon=True)
        thread.start()
        thread.join(SECONDS)
        return self.outcome

    def work(self) -> None:
        try:
            self.outcome = (
                asyncio.run(self.send()) if inspect.iscoroutinefunction(self.sink.send) else self.send_blocking()
            )
        except Exception as error:  # noqa: BLE001 - whatever a client raises is what the operator wants to read
            self.outcome = error

    async def send(self) -> Outcome:
        await self.sink.open()
        try:
            receipt = await self.sink.send(self.batch)
        finally:
            await self.sink.close()
        outcome: Outcome = receipt.of(self.batch)[0]
        return outcome

    def send_blocking(self) -> Outcome:
        self.sink.open()
        try:
            receipt = self.sink.send(self.batch)
        finally:
            self.sink.close()
        outcome: Outcome = receipt.of(self.batch)[0]
        return outcome
