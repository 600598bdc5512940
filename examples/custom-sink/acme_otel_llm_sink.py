"""
A sink of one's own: a ledger with one line per call, and no call entered twice.
"""

from dataclasses import dataclass
from pathlib import Path

from otel_llm import Batch, BlockingSink, Event, Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class AcmeOptions:
    """
    Where the ledger is.
    """

    path: str = "ledger.tsv"
    """File that gets one line per call."""


class AcmeSink(BlockingSink):
    """
    Writes event id, model, tokens and US dollars to a tab-separated file.
    """

    Options = AcmeOptions

    def __init__(self, options: AcmeOptions) -> None:
        self._path = Path(options.path)
        self._entered: set[str] = set()

    def open(self) -> None:
        self._path.touch()
        self._entered = {line.partition("\t")[0] for line in self._path.read_text().splitlines()}

    def send(self, batch: Batch) -> Receipt:
        new = [record.event for record in batch.records if record.event.id not in self._entered]
        with self._path.open("a") as ledger:
            ledger.writelines(map(_line, new))
        self._entered.update(event.id for event in new)
        return Receipt.delivered()

    def close(self) -> None:
        self._entered.clear()


def _line(event: Event) -> str:
    tokens = event.get("gen_ai.usage.input_tokens", ""), event.get("gen_ai.usage.output_tokens", "")
    fields = event.id, event.get("gen_ai.request.model", ""), *tokens, event.get("operation.cost", "")
    return "\t".join(map(str, fields)) + "\n"
