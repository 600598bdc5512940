import json
from itertools import count

from sink_harness import Harness

_STREAMS = count(1)


class KinesisHarness(Harness):
    """
    Puts into Kinesalite, through a proxy that can refuse and hold, and reads the stream by plain HTTP.
    """

    client = "botocore"
    variants = ({"client": "aiobotocore"}, {"client": "boto3"}, {"request_bytes": "16 KiB"})
    misuses = (
        ({"stream_name": "arn:aws:kinesis:us-east-1:1:stream/llm"}, "expected a stream's name: up to 128 letters"),
        ({"region": "Frankfurt"}, "region: found 'Frankfurt', expected a region such as eu-central-1"),
        ({"session_token": "t", "access_key_id": None, "secret_access_key": None}, "beside session_token"),
        ({"secret_access_key": None}, "expected both access_key_id and secret_access_key, or neither"),
        (
            {"endpoint": "localhost:4566"},
            "endpoint: found 'localhost:4566', expected a URL such as http://localhost:4566",
        ),
        ({"endpoint": "http://[::1"}, "expected a URL such as http://localhost:4566"),
        ({"endpoint": "http://localhost:99999"}, "expected a URL such as http://localhost:4566"),
        ({"partition_key_field": "requestid"}, "did you mean 'request_id'?"),
        ({"record_bytes": "32 MiB"}, "record_bytes: found '32 MiB', expected 10 MiB at most"),
        ({"ca_file": "missing.pem"}, "expected a file that exists in ca_file"),
        ({"timeout_ms": 0}, "timeout_ms: found 0, expected a whole number above 0"),
        ({"client": "boto"}, "client: found 'boto', expected auto, aiobotocore or boto3 (did you mean 'boto3'?)"),
    )
    largest = 1024**2
    served = True
    guarded = True

    def __init__(self, folder, request):
        super().__init__(folder, request)
        self._proxy = request.getfixturevalue("servers").get("kinesis-proxy")
        self._stream = f"llm-{next(_STREAMS)}"
        self._proxy.api.create(self._stream)

    @property
    def options(self):
        return {
            "stream_name": self._stream,
            "region": "us-east-1",
            "endpoint": self._proxy.endpoint,
            "access_key_id": "AKIATEST",
            "secret_access_key": "hush-hush",
        }

    def arrived(self):
        return [json.loads(record.data)["event_id"] for record in self._proxy.api.records(self._stream)]

    def stop(self):
        self._proxy.kill()

    def start(self):
        self._proxy.restart()

    def holding(self):
        return self._proxy.holding()

    def refuse(self):
        self._proxy.refusal = "UnrecognizedClientException"

    def accept(self):
        self._proxy.refusal = None

    def close(self):
        self.accept()
