"""
Installers: from Maven, npm, pip and Go into the cache, from apt into the system.

Each raises `Missing` where its tool is not there or cannot do it (offline, say), and does nothing the second time.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from xml.sax.saxutils import escape

from tests.servers.kit import cache
from tests.servers.kit.missing import Missing, tool

SUDO = "TEST_OTEL_LLM_SUDO"
"""Set, it allows to install system packages by sudo; root needs no permission."""


def maven(name, *coordinates):
    """
    Give the folder with the jars of `group:artifact:version` and all they need at run time.
    """
    mvn = tool("mvn", "apt-get install maven")

    def copy(folder):
        (folder / "pom.xml").write_text(_pom(coordinates))
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder / 'jars'}"]
        run([mvn, "-q", "-B", "-ntp", "-f", str(folder / "pom.xml"), *goal])

    return cache.made(_versioned(name, coordinates), copy) / "jars"


def npm(name, *packages):
    """
    Give the folder of the programs (`node_modules/.bin`) of npm packages such as `kinesalite@3.3.3`.
    """
    program = tool("npm", "apt-get install npm")

    def install(folder):
        run([program, "install", "--no-audit", "--no-fund", "--prefix", str(folder), *packages])

    return cache.made(_versioned(name, packages), install) / "node_modules" / ".bin"


def pip(name, *requirements):
    """
    Give the folder of the programs (`bin`) of a virtual environment with these packages.
    """

    def install(folder):
        python, uv = str(folder / "bin" / "python"), shutil.which("uv")
        if uv:
            run([uv, "venv", "-q", "--allow-existing", "--python", sys.executable, str(folder)])
            run([uv, "pip", "install", "-q", "--python", python, *requirements])
        else:
            run([sys.executable, "-m", "venv", str(folder)])
            run([python, "-m", "pip", "--disable-pip-version-check", "install", "-q", *requirements])

    return cache.made(_versioned(name, (*requirements, sys.version)), install) / "bin"


def go(name, *programs, env=None):
    """
    Give the folder of the binaries of `module/path@version`, built by `go install`.
    """
    compiler = tool("go", "see https://go.dev/dl")
    settings = {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0"} | (env or {})

    def build(folder):
        for program in programs:
            run([compiler, "install", program], env=settings | {"GOBIN": str(folder)}, timeout=1800)

    return cache.made(_versioned(name, programs), build)


def apt(*packages, provides):
    """
    Install Debian packages unless the file or program `provides` is there: as root, or by sudo when that is allowed.
    """
    if shutil.which(provides) or os.path.exists(provides):  # noqa: PTH110 - a name or a path
        return
    wanted = " ".join(packages)
    manager = shutil.which("apt-get")
    if manager is None:
        raise Missing(f"{provides} is not installed; on Debian it is in {wanted}")
    rights = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if rights and not os.environ.get(SUDO):
        raise Missing(f"{provides} is not installed: sudo apt-get install -y {wanted}")
    with cache.locked("apt"):
        run([*rights, manager, "update", "-qq"])
        run([*rights, manager, "install", "-qq", "-y", "--no-install-recommends", *packages], env=_UNATTENDED)


_UNATTENDED = {"DEBIAN_FRONTEND": "noninteractive"}
_LAST_WORDS = 2000


def run(command, *, env=None, timeout=900, cwd=None):
    """
    Run an installer's command to its end; raises `Missing` with its last words when it fails.
    """
    try:
        subprocess.run(
            command,
            check=True,
            timeout=timeout,
            cwd=cwd,
            env=os.environ | (env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "output", None) or b"").decode(errors="replace")[-_LAST_WORDS:].strip()
        raise Missing(f"cannot be installed, {' '.join(map(str, command[:3]))} … failed: {said or error}") from error


def _versioned(name, parts):
    return f"{name}-{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:12]}"


def _pom(coordinates):
    dependencies = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
        f"<version>{version}</version></dependency>"
        for group, artifact, version in (escape(coordinate).split(":") for coordinate in coordinates)
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>tests</groupId><artifactId>servers</artifactId><version>1</version><packaging>pom</packaging>"
        f"<dependencies>{dependencies}</dependencies></project>"
    )
