from intakes import IntakeHarness, Loki


class LokiHarness(IntakeHarness):
    """
    Pushes to a server that holds to Loki's rules.
    """

    intake = Loki
    variants = (
        {"compression": "none"},
        {"compression": "gzip"},
        {"tenant": "t1"},
        {"username": "1", "password": "2"},
        {"labels": {"model": "{model}", "tenant": "{label.tenant_id}"}},
    )
    misuses = (
        ({"url": "loki:3100"}, "url: found some text, expected a URL such as"),
        (
            {"labels": {"a-b": "c"}},
            "labels: found a mapping, expected one label or more, with names of letters, digits",
        ),
        ({"labels": "a={modle}"}, "(did you mean 'model'?)"),
        ({"username": "1"}, "expected both username and password, or neither"),
        ({"url": "http://logs.example.com"}, "expected https in url (http only to this machine), or allow_http: true"),
        ({"compression": "zstd"}, "compression: found 'zstd', expected none or gzip"),
    )

    @property
    def options(self):
        return {"url": self.server.url, "timeout_ms": 20_000}
