"""
ClickHouse's HTTP interface before its engine in this process (chdb), as far as the Collector's exporter speaks it.

`python _clickhouse_http.py PORT FOLDER` runs it. Requests come one after another: the engine has one session.
"""

import sys
import tempfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from chdb.session import Session

_HELLO = "SELECT displayName(), version(), revision(), timezone()"
_FORMAT = " FORMAT Native"


def main(port, folder):
    session = Session(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self._answer(200, b"Ok.\n")

        def do_POST(self):
            asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            length = self.headers["Content-Length"]
            body = self.rfile.read(int(length)) if length else _whole(self.rfile)
            try:
                self._answer(200, _run(session, asked, body))
            except RuntimeError as error:
                self._answer(500, str(error).encode())

        def _answer(self, status, body):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    HTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


def _whole(stream):
    """
    Read a body that comes in chunks.
    """
    body = b""
    while size := int(stream.readline(), 16):
        body += stream.read(size)
        stream.readline()
    stream.readline()
    return body


def _run(session, asked, body):
    if "query" not in asked:
        query = body.decode()
        return _hello() if query == _HELLO else session.query(query, asked.get("default_format", "Native")).bytes()
    with tempfile.NamedTemporaryFile() as data:
        Path(data.name).write_bytes(body)
        insert = asked["query"].strip().removesuffix(_FORMAT)
        return session.query(f"{insert} FROM INFILE '{data.name}'{_FORMAT}", "Native").bytes()


def _hello():
    """
    Say that nothing newer than the plain format is spoken here: a block with its head, of one row.
    """
    columns = {"displayName()": b"\4chdb", "version()": b"\x0626.9.0", "revision()": bytes(4), "timezone()": b"\3UTC"}
    block = b"\1\0\2\xff\xff\xff\xff\0" + bytes([len(columns), 1])
    for name, value in columns.items():
        kind = b"UInt32" if name == "revision()" else b"String"
        block += bytes([len(name)]) + name.encode() + bytes([len(kind)]) + kind + b"\0" + value
    return block


if __name__ == "__main__":
    main(*sys.argv[1:])
