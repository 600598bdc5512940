"""
The tree of our errors.

OtelLLMError
├── SettingsError     an option, environment variable or file that cannot be used; carries every problem found
├── UnknownPlugin     a sink, client or dialect name that no installed package provides
├── MissingExtra      a plugin is installed but the client library it drives is not
├── JournalError      the journal cannot be written or read
├── NotDelivered      a sink did not get rid of a batch, in words that are safe to show; it is sent again
│   └── Unauthorized  because the server does not accept our credentials
├── ReceiverGone      a server says that it takes no records any more; its sink is off
├── PriceError        a price table that cannot be read
└── StoreError        a usage store that is missing or cannot be read
"""

from collections.abc import Sequence
from dataclasses import dataclass


class OtelLLMError(Exception):
    """Everything that otel-llm raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One thing wrong with the settings, in words for the person who wrote them.
    """

    where: str
    """Environment variable, or file and key path, that holds the value."""
    found: str
    """What stands there; never a secret's value."""
    expected: str
    """What would be right."""
    nearest: str | None = None
    """The known name that looks most like what was found."""

    def __str__(self) -> str:
        hint = f" (did you mean {self.nearest!r}?)" if self.nearest else ""
        return f"{self.where}: found {self.found}, expected {self.expected}{hint}"


class SettingsError(OtelLLMError):
    """
    Settings that cannot be used; `problems` holds all of them, not only the first.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class UnknownPlugin(OtelLLMError):  # noqa: N818 - named after what happened, as the whole tree
    """No installed package provides a plugin of that name."""


class MissingExtra(OtelLLMError):  # noqa: N818
    """A plugin's client library is not installed; the message holds the pip command that installs it."""


class JournalError(OtelLLMError):
    """The journal cannot be written or read."""


class NotDelivered(OtelLLMError):  # noqa: N818
    """
    A sink did not get rid of a batch, which is sent again after the sink was opened anew.

    The message is shown to operators: it never quotes a record, and names a server by its host only.
    """


class Unauthorized(NotDelivered):
    """The server does not accept our credentials: said at once, and tried again at long intervals only."""


class ReceiverGone(OtelLLMError):  # noqa: N818
    """A server says that it takes no records any more (HTTP 410); the message is safe to show, too."""


class PriceError(OtelLLMError):
    """A price table cannot be read."""


class StoreError(OtelLLMError):
    """A usage store is missing or cannot be read."""
