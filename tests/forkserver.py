"""Runs of qctl without its start-up: each in a process of its own, forked from one that has imported everything.

More than half of the processor time of all tests went into importing the same modules, thirteen hundred times. What a run
sees is what the executable sees: arguments, environment, folder, three file descriptors; it ends as that does. What start-up
itself does (the script, lazy imports, the locale) is tested with the executable, in tests/e2e and tests/shells.
"""

import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

LONGEST = 60_000


class ForkServer:
    """The process that forks, and how it is asked."""

    def __init__(self, executable: Path, env: dict[str, str]) -> None:
        self._executable = str(executable)
        self._lock = threading.Lock()
        self._asking, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()], env=env, stdin=subprocess.DEVNULL
            )  # fmt: skip

    def run(
        self, arguments: list[str], env: dict[str, str], stdin: bytes, timeout: float
    ) -> subprocess.CompletedProcess[bytes]:
        """One run, to its end.

        Raises:
            subprocess.TimeoutExpired: it was killed.
        """
        command = [self._executable, *arguments]
        ours, theirs = socket.socketpair()
        with ours, tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(stdin)
            given.seek(0)
            with theirs, self._lock:
                request = json.dumps({"argv": command, "env": env, "cwd": str(Path.cwd())}).encode()
                socket.send_fds(self._asking, [request], [given.fileno(), out.fileno(), err.fileno(), theirs.fileno()])
            ours.settimeout(timeout)
            answers = ours.makefile("r")
            pid = None
            try:
                pid = int(answers.readline())
                status = int(answers.readline())
            except TimeoutError:
                if pid:
                    os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(command, timeout, _all(out), _all(err)) from None
            return subprocess.CompletedProcess(command, os.waitstatus_to_exitcode(status), _all(out), _all(err))


def _all(file) -> bytes:
    file.seek(0)
    return file.read()


def _import_all() -> None:
    import qctl

    for module in pkgutil.walk_packages(qctl.__path__, "qctl."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def _become(request: bytes, fds: list[int]) -> None:
    """Runs the command line as the process that this is now; ends as it ends."""
    from qctl.cli import main

    asked = json.loads(request)
    for number, fd in enumerate(fds[:3]):
        os.dup2(fd, number)
    for fd in fds:
        os.close(fd)
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    time.tzset()
    sys.argv[:] = asked["argv"]
    main()


def serve(asking: socket.socket) -> None:
    """Forks until nobody asks any more; in a fork that runs the command line, it does not return."""
    _import_all()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        request, fds, _, _ = socket.recv_fds(asking, 2 * LONGEST, 4)
        if not request:
            return None
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            asking.close()
            if (pid := os.fork()) == 0:
                return _become(request, fds)
            os.write(fds[3], f"{pid}\n".encode())
            os.write(fds[3], f"{os.waitpid(pid, 0)[1]}\n".encode())
            os._exit(0)
        for fd in fds:
            os.close(fd)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
