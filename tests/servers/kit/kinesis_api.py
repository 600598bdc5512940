"""
A Kinesis data stream seen by a consumer: plain HTTP, no AWS client, nothing that a sink of ours uses.
"""

import base64
import json
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass

_SIGNED = (
    "AWS4-HMAC-SHA256 Credential=consumer/20260101/us-east-1/kinesis/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=unchecked"
)


@dataclass(frozen=True)
class Taken:
    """
    One record of a stream.
    """

    key: str
    data: bytes
    shard: str


class Api:
    """
    Speaks to one server, which does not check signatures.
    """

    def __init__(self, url, authority=None):
        self.url = url
        self._context = ssl.create_default_context(cafile=authority) if authority else None

    def call(self, operation, **arguments):
        """
        Call an operation; gives its answer.
        """
        headers = {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"Kinesis_20131202.{operation}",
            "X-Amz-Date": "20260101T000000Z",
            "Authorization": _SIGNED,
        }
        request = urllib.request.Request(f"{self.url}/", json.dumps(arguments).encode(), headers)
        with urllib.request.urlopen(request, timeout=10, context=self._context) as answer:
            return json.loads(answer.read() or b"{}")

    def create(self, stream, shards=1):
        """
        Make a stream and wait until it takes records.
        """
        self.call("CreateStream", StreamName=stream, ShardCount=shards)
        deadline = time.monotonic() + 10
        while self._description(stream)["StreamStatus"] != "ACTIVE":
            if time.monotonic() > deadline:
                raise RuntimeError(f"the stream {stream} is not active")
            time.sleep(0.01)

    def records(self, stream):
        """
        Give all records of a stream, shard after shard, each shard in its order.
        """
        shards = [shard["ShardId"] for shard in self._description(stream)["Shards"]]
        return [record for shard in shards for record in self._shard(stream, shard)]

    def answers(self):
        """
        Whether the server is there.
        """
        try:
            self.call("ListStreams")
        except OSError:
            return False
        return True

    def _description(self, stream):
        return self.call("DescribeStream", StreamName=stream)["StreamDescription"]

    def _shard(self, stream, shard):
        start = {"StreamName": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
        iterator = self.call("GetShardIterator", **start)["ShardIterator"]
        while True:
            answer = self.call("GetRecords", ShardIterator=iterator)
            if not answer["Records"]:
                return
            for record in answer["Records"]:
                yield Taken(record["PartitionKey"], base64.b64decode(record["Data"]), shard)
            iterator = answer["NextShardIterator"]
