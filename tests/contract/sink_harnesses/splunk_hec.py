from intakes import IntakeHarness, Splunk


class SplunkHecHarness(IntakeHarness):
    """
    Sends to a server that holds to the rules of Splunk's HTTP Event Collector.
    """

    intake = Splunk
    variants = ({"compression": "none"}, {"compression": "gzip"}, {"index": "llm"})
    misuses = (
        ({"url": "splunk:8088"}, "url: found some text, expected a URL such as"),
        ({"token": None}, "token: found nothing, expected a value, as it has no default"),
        ({"url": "http://logs.example.com"}, "expected https in url (http only to this machine), or allow_http: true"),
        ({"compression": "zstd"}, "compression: found 'zstd', expected none or gzip"),
    )
    troubles = (*IntakeHarness.troubles, ("wrong index", "400 Bad Request from 127.0.0.1"))

    @property
    def options(self):
        return {"url": self.server.url, "token": "right", "timeout_ms": 20_000}

    def troubled(self, trouble):
        return {**self.options, "index": "elsewhere"} if trouble == "wrong index" else super().troubled(trouble)
