"""What servers limit: entries that are cut, batches that go in several requests."""

import asyncio

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from otel_llm.delivery.http_answer import Answer
from otel_llm.delivery.http_limits import CUT, MARK, entry, post_all
from otel_llm.delivery.sink import DELIVERED, Batch, Delivered, Receipt, Record, Rejected
from otel_llm.telemetry.event import Event

TEXTS = st.text(max_size=3000)
DOCUMENTS = st.dictionaries(
    st.text(max_size=5), st.recursive(TEXTS, lambda part: st.lists(part, max_size=3)), max_size=5
)
SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=30)


def answers(posts, script):
    """
    Give a function that takes requests and answers by a script, with success when that has ended.
    """
    statuses = iter(script)

    async def post(entries):
        posts.append(list(entries))
        return Answer(next(statuses, 200))

    return post


def batch_of(count):
    return Batch([Record(Event(str(number), "", 0, 0, 9, "", {}), b"") for number in range(count)])


@given(DOCUMENTS, st.integers(500, 3000))
@example({"a": "x" * 2000, "b": ["é" * 2000]}, 500)
@example({"a": ["x"] * 500}, 500)
def test_an_entry(document, most):
    """An entry keeps to the limit, is whole where it fits, and says where it was cut."""
    made = entry(document, most)
    whole = msgspec.json.encode(document)
    if len(whole) <= most:
        assert made == whole
    elif not isinstance(made, Rejected):
        assert len(made) <= most
        assert msgspec.json.decode(made)[CUT] is True
        assert MARK.encode() in made


@given(SIZES, st.integers(1, 8), st.integers(20, 100))
def test_requests(sizes, most, most_bytes):
    """Every entry is sent once, in order, and no request of several entries is beyond the limits."""
    entries = [bytes([number]) * size for number, size in enumerate(sizes)]
    posts = []
    receipt = asyncio.run(post_all(entries, answers(posts, []), most=most, most_bytes=most_bytes))
    assert [one for post in posts for one in post] == entries
    assert all(len(post) <= most for post in posts)
    assert all(len(post) == 1 or len(b",".join(post)) <= most_bytes for post in posts)
    assert set(receipt.of(batch_of(len(sizes)))) == {DELIVERED}


@given(SIZES, st.lists(st.sampled_from([200, 200, 400, 503]), max_size=10))
def test_outcomes(sizes, script):
    """What was delivered is told so, whatever became of the rest, and sending the rest again brings all to an end."""
    waiting = [bytes([number]) * size for number, size in enumerate(sizes)]
    delivered = []
    posts = []
    post = answers(posts, script)
    for _ in range(len(script) + 1):
        receipt = asyncio.run(post_all(waiting, post, most=3, most_bytes=1000))
        outcomes = Receipt(receipt.outcomes).of(batch_of(len(waiting)))
        together = list(zip(waiting, outcomes, strict=True))
        delivered += [one for one, outcome in together if isinstance(outcome, Delivered)]
        waiting = [one for one, outcome in together if not isinstance(outcome, Delivered)]
        if not waiting:
            break
    assert sorted(delivered) == sorted(bytes([number]) * size for number, size in enumerate(sizes))
