"""
A process that emits numbered records at a steady rate into one sink, and writes down what that cost.

Its one argument is a JSON document; its last line is another one.
"""

import json
import sys
import time
from pathlib import Path

import msgspec

from otel_llm.delivery.delivery import Delivery
from otel_llm.delivery.spec import DeliverySettings, SinkSpec
from otel_llm.formats import find
from otel_llm.settings.secret import Secret
from otel_llm.telemetry.event import Event, new_event_id

TICK = 0.01
ATTRIBUTES = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.usage.input_tokens": 1200,
    "gen_ai.usage.output_tokens": 350,
    "gen_ai.usage.cost": 0.00039,
    "otel_llm.event.type": "api_call",
    "otel_llm.status": "success",
    "otel_llm.duration": 1.2345,
    "otel_llm.attempts": 1,
    "otel_llm.usage_source": "provider",
    "otel_llm.cost.source": "book",
    "otel_llm.label.tenant_id": "t1",
    "http.response.status_code": 200,
    "server.address": "api.openai.com",
    "user.id": "user-17",
    "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "why is the sky blue? " * 40}]}],
}


def main() -> None:
    """
    Emit, look at the memory each second, flush, tell.
    """
    order = json.loads(sys.argv[1])
    delivery = Delivery(
        sinks=[SinkSpec(name="sink", make=lambda: _sink(order), encoder=find("otel").encode)],
        settings=DeliverySettings(journal_dir=Path(order["journal"])),
    )
    curve, lags = _emit(delivery, order["rate"], order["seconds"])
    begun, cpu = time.monotonic(), time.process_time()
    flushed = delivery.flush(60)
    curve.append(_rss_mib())
    stats = delivery.stats()["sink"]
    delivery.shutdown(5)
    told = {
        "flushed": flushed,
        "flush_seconds": round(time.monotonic() - begun, 2),
        "cpu_seconds": round(cpu, 1),
        "emitted": order["rate"] * order["seconds"],
        "worst_lag": round(max(lags), 2),
        "rss_mib": curve,
        "stats": msgspec.to_builtins(stats),
    }
    sys.stdout.write(f"{json.dumps(told)}\n")


def _emit(delivery: Delivery, rate: int, seconds: int) -> tuple[list[float], list[float]]:
    begun, number = time.monotonic(), 0
    curve, lags = [], [0.0]
    while number < rate * seconds:
        due = min(rate * seconds, int((time.monotonic() - begun) * rate))
        for each in range(number, due):
            _append(delivery, each)
        number = due
        if number >= len(curve) * rate:
            curve.append(_rss_mib())
            lags.append(time.monotonic() - begun - number / rate)
        time.sleep(TICK)
    return curve, lags


def _append(delivery: Delivery, number: int) -> None:
    now = time.time_ns()
    delivery.append(Event(new_event_id(), "test", now, now, 9, "INFO", {"number": number, **ATTRIBUTES}))


def _sink(order: dict):
    if order["sink"] == "sqlite":
        from otel_llm_exporters.sqlite import SqliteOptions, SqliteSink

        return SqliteSink(SqliteOptions(path=order["path"]))
    from otel_llm_exporters.webhook import WebhookOptions, WebhookSink

    return WebhookSink(WebhookOptions(url=Secret(f"http://127.0.0.1:{order['port']}/llm")))


def _rss_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * 4096 / 1024**2, 1)


if __name__ == "__main__":
    main()
