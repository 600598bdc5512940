"""The options of the sink `pubsub`, and how they are read."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from otel_llm.delivery.template import Template, read_template
from otel_llm.settings.conversion import Count, Unfit, convert, read_text
from otel_llm.settings.secret import Secret

OWN_ATTRIBUTES: Final = ("event_id", "event_type", "content_type", "traceparent")
"""Attributes that every message has."""
MOST_ATTRIBUTES: Final = 100 - len(OWN_ATTRIBUTES)
NAME_BYTES: Final = 256


def read_project_id(raw: object) -> str:
    """
    Read the id of a project.
    """
    name = read_text(raw)
    if not re.fullmatch(r"[a-z0-9][a-z0-9.:-]*", name):
        raise Unfit("a project's id, such as my-project-123")
    return name


def read_topic_id(raw: object) -> str:
    """
    Read the id of a topic.
    """
    name = read_text(raw)
    if not re.fullmatch(r"(?!goog)[a-zA-Z][\w.~+%-]{2,254}", name, re.ASCII):
        raise Unfit("a topic's id without its project: 3 to 255 letters, digits and -_.~+%, a letter first")
    return name


def read_endpoint(raw: object) -> str:
    """
    Read where Pub/Sub is: `host`, `host:port`, or a URL without a path.
    """
    text = read_text(raw)
    if not re.fullmatch(r"(https?://)?([\w.-]+|\[[0-9a-fA-F:]+\])(:\d{1,5})?/?", text, re.ASCII) or not _is_place(text):
        raise Unfit("localhost:8085 for an emulator, or https://europe-west3-pubsub.googleapis.com")
    return text


def _is_place(text: str) -> bool:
    try:
        return urlsplit(f"//{text.partition('://')[2] or text}").port != 0
    except ValueError:  # an address or a port that cannot be
        return False


def read_credentials(raw: object) -> Secret:
    """
    Read what a credentials file holds.
    """
    secret: Secret = convert(json.dumps(raw) if isinstance(raw, Mapping) else raw, Secret)
    try:
        document = json.loads(secret.reveal())
    except ValueError:
        document = None
    if not isinstance(document, dict) or "type" not in document:
        raise Unfit("the JSON of a credentials file, with its type")
    return secret


def read_attributes(raw: object) -> Mapping[str, str]:
    """
    Read attributes of messages, by name.
    """
    attributes: Mapping[str, str] = convert(raw, Mapping[str, str])
    for name, value in attributes.items():
        if name in OWN_ATTRIBUTES or name.startswith("goog") or not 0 < len(name.encode()) <= NAME_BYTES:
            raise Unfit(
                f"names of 1 to {NAME_BYTES} bytes, not starting with goog, and not {', '.join(OWN_ATTRIBUTES)}"
            )
        read_template(value)
    if len(attributes) > MOST_ATTRIBUTES:
        raise Unfit(f"{MOST_ATTRIBUTES} attributes at most")
    return attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class PubsubOptions:
    """
    Options of the sink `pubsub`; `batch_delay_ms` is another name of `flush_interval_ms`.

    ```yaml
    sinks:
      pubsub:
        project_id: my-project-123
        topic_id: llm-calls
        ordering_key: "{label.tenant_id}"
        attributes: {source: shop, model: "{model}"}
    ```

    ```yaml wrong
    sinks:
      pubsub: {topic_id: llm-calls}
    ```

    ```yaml wrong
    sinks:
      pubsub: {project_id: my-project-123, topic_id: projects/my-project-123/topics/llm-calls}
    ```

    ```yaml wrong
    sinks:
      pubsub: {project_id: my-project-123, topic_id: llm-calls, ordering_key: "{label.tenant_id"}
    ```

    ```yaml wrong
    sinks:
      pubsub: {project_id: my-project-123, topic_id: llm-calls, credentials_json: swordfish}
    ```

    ```yaml wrong
    sinks:
      pubsub: {project_id: my-project-123, topic_id: llm-calls, credentials_file: /etc/missing.json}
    ```

    ```yaml wrong
    sinks:
      pubsub: {project_id: my-project-123, topic_id: llm-calls, attributes: {event_id: "{request_id}"}}
    ```
    """

    project_id: Annotated[str, read_project_id]
    """The project the topic is in."""
    topic_id: Annotated[str, read_topic_id]
    """The topic that takes the records; it has to exist."""
    credentials_file: Path | None = None
    """A file with credentials: a service account's key, or what workload identity federation asks for. Without it and
    `credentials_json`, Application Default Credentials are looked for: `GOOGLE_APPLICATION_CREDENTIALS`, gcloud's own,
    the machine's service account."""
    credentials_json: Annotated[Secret, read_credentials] | None = None
    """What such a file holds, as JSON."""
    endpoint: Annotated[str, read_endpoint] = ""
    """Another place than the global one. `host:port` is an emulator: plaintext, no credentials; so is what
    `PUBSUB_EMULATOR_HOST` names. `https://…` or a name of googleapis.com is the real thing; records with ordering keys
    want the one of their region, such as `europe-west3-pubsub.googleapis.com`."""
    ca_file: Path | None = None
    """PEM file of the authorities to trust instead of those that gRPC brings."""
    ordering_key: Template = ""
    """Messages with one key reach a subscription with ordering in the order of their publishing. May have fields, such
    as `{label.tenant_id}`; cut to 1,024 bytes; messages where it is empty are not ordered."""
    attributes: Annotated[Mapping[str, str], read_attributes] = field(default_factory=dict)
    """Further attributes of each message; values may have fields, such as `{model}`, and are cut to 1,024 bytes."""
    num_goroutines: Count = 25
    """Requests on their way at the same time. There is one at a time for each ordering key, and for all messages
    without one."""
    flow_control_max: Count = 1000
    """Messages on their way at the same time, over all batches; what is beyond waits. No request holds more."""
    timeout_ms: Count = 30_000
    """Longest time for a request and its answer, in milliseconds."""

    def __post_init__(self) -> None:
        if self.credentials_file and self.credentials_json:
            raise ValueError("either credentials_file or credentials_json")
        for name in ("credentials_file", "ca_file"):
            path: Path | None = getattr(self, name)
            if path is not None and not path.expanduser().is_file():
                raise ValueError(f"a file that exists in {name}")

    @property
    def topic(self) -> str:
        """The topic's full name."""
        return f"projects/{self.project_id}/topics/{self.topic_id}"
