import time
import uuid
from itertools import pairwise

import msgspec
import pytest

from otel_llm.telemetry.event import Event, new_event_id


class TestId:
    def test_is_a_uuid_of_version_7(self):
        """
        An id is a well-formed UUIDv7 that holds the moment it was minted.
        """
        before = time.time_ns() // 1_000_000
        minted = uuid.UUID(new_event_id())
        assert (minted.version, minted.variant) == (7, uuid.RFC_4122)
        assert before <= minted.int >> 80 <= time.time_ns() // 1_000_000

    def test_ids_differ_and_sort_by_time(self):
        """
        No two ids are alike, and ids of different milliseconds sort by them.
        """
        ids = [new_event_id() for _ in range(10_000)]
        assert len(set(ids)) == len(ids)
        assert all(one[:13] <= other[:13] for one, other in pairwise(ids))


class TestEvent:
    def test_type_defaults_to_a_call(self):
        """
        A record of somebody else's has no type of ours.
        """
        kinds = [
            Event("1", "n", 0, 0, 9, "INFO", attributes).type for attributes in ({}, {"otel_llm.event.type": "error"})
        ]
        assert kinds == ["api_call", "error"]

    def test_labels_lose_their_prefix(self):
        """
        Labels are named as the operator named them, and are texts.
        """
        event = Event("1", "n", 0, 0, 9, "INFO", {"otel_llm.label.a.b": 1, "otel_llm.labels": "x"})
        assert event.labels == {"a.b": "1"}

    def test_other_attributes_keep_the_id(self):
        """
        A copy with other attributes is the same event to every sink.
        """
        event = Event("1", "n", 1, 2, 9, "INFO", {"a": 1})
        other = event.with_attributes({"b": 2})
        assert (other.id, other.attributes, event.attributes) == ("1", {"b": 2}, {"a": 1})

    @pytest.mark.parametrize("data", [b"", b"\xc1", b"\x90", b'{"id": 1}'])
    def test_other_bytes_are_no_event(self, data):
        """
        What `encode` did not write is told apart.
        """
        with pytest.raises(msgspec.DecodeError):
            Event.decode(data)
