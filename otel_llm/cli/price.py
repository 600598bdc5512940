"""`otel-llm price`: what a call costs, and the arithmetic behind it."""

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from otel_llm.call import Call, Usage
from otel_llm.errors import Problem
from otel_llm.pricing.book import PriceBook
from otel_llm.pricing.card import EXACT
from otel_llm.pricing.cost import Cost
from otel_llm.pricing.explain import Line, explain
from otel_llm.pricing.money import dollars
from otel_llm.pricing.operator import OperatorPrices
from otel_llm.pricing.providers import canonical, is_known
from otel_llm.settings.loader import load

_MICROS = 6
_PER = {1: "", 1_000: " / 1K", 1_000_000: " / 1M"}
_COUNTS = {
    "input": ("input_tokens", "input tokens, cached ones included"),
    "output": ("output_tokens", "output tokens, reasoning included"),
    "cached": ("cache_read_tokens", "input tokens read from the prompt cache"),
    "cache-write": ("cache_write_tokens", "input tokens written to the prompt cache"),
    "cache-write-1h": ("cache_write_1h_tokens", "those of them kept for one hour"),
    "reasoning": ("reasoning_tokens", "output tokens spent on reasoning"),
    "audio-in": ("audio_input_tokens", "input tokens that are audio"),
    "audio-out": ("audio_output_tokens", "output tokens that are audio"),
    "image-in": ("image_input_tokens", "input tokens that are images"),
    "image-out": ("image_output_tokens", "output tokens that are images"),
    "searches": ("web_searches", "searches on the provider's side"),
}


@dataclass(frozen=True, slots=True)
class Bill:
    """
    A priced call, ready to be shown.
    """

    call: Call
    cost: Cost
    nearest: list[str]
    """Known model names that look like one nobody prices."""

    @property
    def lines(self) -> list[Line]:
        return explain(self.call, self.cost)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """
    Add the command `price`.
    """
    parser = subparsers.add_parser("price", help="show what a call costs, and the arithmetic")
    parser.add_argument("model", help="the model, or provider/model")
    for name, (field, words) in _COUNTS.items():
        parser.add_argument(f"--{name}", dest=field, metavar="N", type=_count, help=words)
    parser.add_argument("--provider", help="whose price; default: the one the model's name points to")
    parser.add_argument("--tier", help="service tier, such as flex or priority")
    parser.add_argument("--batch", action="store_true", help="as part of a batch job")
    parser.add_argument("--at", metavar="DATE", type=_moment, help="price on that day (ISO 8601, UTC); default: now")
    parser.add_argument("--prices", metavar="FILE", type=Path, help="your own prices; default: those of the settings")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """
    Print the bill; 0 when the price is known, 1 when it is not, 2 when the operator's prices have mistakes.
    """
    operator, problems = _operator_prices(args.prices)
    if problems:
        print(*problems, sep="\n", file=sys.stderr)
        return 2
    bill = _bill(args, PriceBook(operator))
    _show(bill, as_json=args.json)
    return 0 if bill.cost.total is not None else 1


def _operator_prices(file: Path | None) -> tuple[OperatorPrices, list[Problem]]:
    settings = load().settings
    path = file or settings.prices
    return OperatorPrices.read(settings.pricing, "pricing") if path is None else OperatorPrices.read_file(path)


def _bill(args: argparse.Namespace, book: PriceBook) -> Bill:
    table = book.load()
    provider, model = _named(args.provider, args.model)
    provider = canonical(provider or table.provider_of(model) or "unknown")
    counts = {field: getattr(args, field) for field, _ in _COUNTS.values()}
    call = Call(
        operation="chat",
        provider=provider,
        api="price",
        request_model=model,
        started_ns=int((args.at or datetime.now(UTC)).timestamp()) * 1_000_000_000,
        duration_ns=0,
        status="success",
        usage=Usage(
            **{**counts, "input_tokens": counts["input_tokens"] or 0, "output_tokens": counts["output_tokens"] or 0}
        ),
        service_tier=args.tier,
        processing="batch" if args.batch else None,
    )
    cost = book.price(call)
    return Bill(call, cost, [] if cost.total is not None else table.nearest(provider, model))


def _named(provider: str | None, model: str) -> tuple[str | None, str]:
    before, _, after = model.partition("/")
    return (before, after) if provider is None and after and is_known(before) else (provider, model)


def _show(bill: Bill, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_document(bill), indent=2))
    elif bill.cost.total is None:
        print("\n".join(_unknown(bill)))
    elif not (sys.stdout.isatty() and _show_table(bill)):
        print("\n".join(_text(bill)))


def _unknown(bill: Bill) -> Iterable[str]:
    yield f"unknown: {bill.cost.unknown_reason}"
    if bill.nearest:
        yield f"nearest known models: {', '.join(bill.nearest)}"


def _rows(bill: Bill) -> list[tuple[str, str, str, str]]:
    """
    Give number, what, price and amount of every line, the total last.
    """
    rows = [
        (str(line.number), line.what, f"{dollars(line.price)}{_PER[line.per]}", dollars(line.amount, _MICROS))
        for line in bill.lines
    ]
    cost = bill.cost
    if cost.discount is not None and cost.discount_factor is not None:
        rows.append(("", "discount", f"pay {_digits(cost.discount_factor * 100)} %", dollars(-cost.discount, _MICROS)))
    return [*rows, ("", "total", "", dollars(cost.total or Decimal(0), _MICROS))]


def _text(bill: Bill) -> Iterable[str]:
    rows = _rows(bill)
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    yield _title(bill)
    for number, what, price, amount in rows:
        times, equals = ("\N{MULTIPLICATION SIGN}", "=") if number else (" ", " ")
        left = f"{number:>{widths[0]}} {what:<{widths[1]}} {times} {price:<{widths[2]}}"
        yield f"  {left} {equals} {amount:>{widths[3]}}"
    yield _source(bill)


def _show_table(bill: Bill) -> bool:
    """
    Show the bill in colour; False where rich is not installed.
    """
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        return False
    table = Table(title=_title(bill), caption=_source(bill), title_justify="left", caption_justify="left")
    table.add_column("units", justify="right")
    table.add_column("of")
    table.add_column("price", justify="right")
    table.add_column("amount", justify="right", style="green")
    for row in _rows(bill):
        table.add_row(*row, style="bold" if row[1] == "total" else None)
    Console().print(table)
    return True


def _title(bill: Bill) -> str:
    day = datetime.fromtimestamp(bill.call.started_ns // 1_000_000_000, UTC).date()
    kind = [word for word in (bill.call.service_tier, bill.call.processing) if word]
    return ", ".join([f"{bill.call.provider}/{bill.call.request_model}", *kind, str(day)])


def _source(bill: Bill) -> str:
    version = f" ({bill.cost.price_version})" if bill.cost.price_version else ""
    return f"source: {bill.cost.source}{version}"


def _document(bill: Bill) -> dict[str, object]:
    """
    Give the bill as JSON; money is text, so that no digit is lost.
    """
    cost = bill.cost
    return {
        "provider": bill.call.provider,
        "model": bill.call.request_model,
        "total_usd": _digits(cost.total),
        "lines": [
            {
                "units": line.number,
                "of": line.what,
                "price_usd": _digits(line.price),
                "per": line.per,
                "amount_usd": _digits(line.amount),
            }
            for line in bill.lines
        ],
        "discount_factor": _digits(cost.discount_factor),
        "discount_usd": _digits(cost.discount),
        "source": cost.source,
        "price_version": cost.price_version,
        "unknown_reason": cost.unknown_reason,
        "nearest": bill.nearest,
    }


def _digits(amount: Decimal | None) -> str | None:
    return None if amount is None else format(amount.normalize(EXACT), "f")


def _count(text: str) -> int:
    count = int(text.replace("_", "").replace(",", ""))
    if count < 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number of tokens")
    return count


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date such as 2026-01-31") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
