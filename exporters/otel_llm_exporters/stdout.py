"""Standard output or error: one line per call for people, JSON for programs."""

import os
import re
import sys
from dataclasses import dataclass
from typing import Literal, TextIO

import msgspec

from otel_llm.delivery.sink import Batch, BlockingSink, Receipt, Record
from otel_llm.telemetry.line import render

Style = Literal["auto", "json", "pretty", "line", "analytics-prefix"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StdoutOptions:
    """
    Options of the sink `stdout`.

    ```yaml
    sinks:
      stdout: {output: stderr, style: json}
    ```

    ```yaml wrong
    sinks:
      stdout: {style: colorful}
    ```
    """

    output: Literal["stdout", "stderr"] = "stdout"
    """Where to write."""
    style: Style = "auto"
    """`json` (one document a line), `pretty` (indented), `line` (one readable line), `analytics-prefix` (`[analytics] `
    before the JSON); `auto` is `line` on a terminal and `json` elsewhere."""
    pretty: bool = False
    """Indented JSON: the same as `style: pretty`."""


class StdoutSink(BlockingSink):
    """
    Writes each batch in one piece.
    """

    Options = StdoutOptions

    def __init__(self, options: StdoutOptions) -> None:
        self._options = options

    def open(self) -> None:
        """
        Do nothing: the stream is there, or another one by the time of the next batch.
        """

    def send(self, batch: Batch) -> Receipt:
        stream: TextIO = getattr(sys, self._options.output)
        terminal = stream.isatty()
        style = self._style(terminal=terminal)
        color = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        lines = [_write(record, style, color=color) for record in batch.records]
        stream.write("".join(f"{_harmless(line) if terminal and style != 'line' else line}\n" for line in lines))
        stream.flush()
        return Receipt.delivered()

    def close(self) -> None:
        """
        Leave the stream to the application.
        """

    def _style(self, *, terminal: bool) -> Style:
        if self._options.pretty:
            return "pretty"
        if self._options.style == "auto":
            return "line" if terminal else "json"
        return self._options.style


def _write(record: Record, style: Style, *, color: bool) -> str:
    if style == "line":
        return render(record.event, color)
    body = msgspec.json.format(record.body, indent=2) if style == "pretty" else record.body
    text = body.decode(errors="replace")
    return f"[analytics] {text}" if style == "analytics-prefix" else text


def _harmless(text: str) -> str:
    """
    JSON escapes the control characters below 0x20; terminals obey those from 0x7f to 0x9f as well.
    """
    return _C1.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


_C1 = re.compile("[\x7f-\x9f]")
