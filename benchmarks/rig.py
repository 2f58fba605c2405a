"""What every benchmark needs: a PostgreSQL of its own, an nginx of its own, peers in environments of their own."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qctl import embedded

HERE = Path(__file__).parent
PEERS = HERE.parent / ".venv" / "peers"


@contextmanager
def postgres() -> Iterator[str]:
    """An embedded server with its own defaults, fsync on; yields its URI."""
    folder = Path(tempfile.mkdtemp(prefix="qctl-bench-"))
    folder.chmod(0o755)
    server = embedded.start(folder / "data", keep=False)
    try:
        yield server.get_uri("postgres")
    finally:
        server.cleanup()


class Nginx:
    """An nginx that answers every POST with 200 and counts requests."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hook"
        self._status = f"http://127.0.0.1:{port}/status"

    def requests(self) -> int:
        """How many requests it has answered, this look left out."""
        with urllib.request.urlopen(self._status) as answer:
            counts = re.findall(r"\d+", answer.read().decode().splitlines()[2])
        self._looks = getattr(self, "_looks", 0) + 1
        return int(counts[2]) - self._looks


@contextmanager
def nginx() -> Iterator[Nginx]:
    """Starts Debian's nginx on a free port; installs it where apt-get may."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            sys.exit("this benchmark needs nginx: apt-get install nginx-light")
        subprocess.run(["apt-get", "install", "-y", "-qq", "nginx-light"], check=True, stdout=subprocess.DEVNULL)
        program = "/usr/sbin/nginx"
    folder = Path(tempfile.mkdtemp(prefix="qctl-nginx-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = (HERE / "nginx.conf").read_text().replace("@FOLDER@", str(folder)).replace("@PORT@", str(port))
    (folder / "nginx.conf").write_text(config)
    process = subprocess.Popen([program, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")])
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            process.poll() is None or sys.exit("nginx did not start")
        yield Nginx(port)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def peer(name: str, *packages: str) -> Path:
    """The Python of an environment with those packages at their newest; made once."""
    python = PEERS / name / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEERS / name)], check=True)
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, *packages], check=True)
    return python


def machine() -> str:
    """One line about the machine."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    return f"{os.cpu_count()} cores, {model[1] if model else '?'}, {int(memory[1]) // 2**20 if memory else '?'} GiB"
