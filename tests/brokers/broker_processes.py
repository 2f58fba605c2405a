"""Real brokers for tests: each in a temporary folder, on free ports of this machine, and gone afterwards."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def program(name: str) -> str | None:
    """The path of a program, also of one that only root has in its path."""
    return shutil.which(name, path=f"/usr/lib/rabbitmq/bin:{os.environ['PATH']}:/usr/sbin")


class Broker(ABC):
    """A process that is killed with SIGKILL and started again on the same data and port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def command(self) -> list[str]:
        """What starts it."""

    def environment(self) -> dict[str, str]:
        return {**os.environ, "HOME": str(self.folder)}

    def is_up(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def start(self, within_s: float = 60) -> "Broker":
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), env=self.environment(), stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        until = time.monotonic() + within_s
        while not self.is_up():
            if self.process.poll() is not None or time.monotonic() > until:
                self.close()
                raise RuntimeError(f"{self.command()[0]} did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        """As an administrator does: with SIGTERM."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
            self.process = None

    def kill(self) -> None:
        """SIGKILL to it and to what it started."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def close(self) -> None:
        self.kill()


class Nats(Broker):
    """NATS with JetStream on disk."""

    max_payload = 1 << 20

    def command(self) -> list[str]:
        config = self.folder / "nats.conf"
        config.write_text(f"max_payload: {self.max_payload}\n")
        path = program("nats-server") or "nats-server"
        return [
            path,
            "-c",
            str(config),
            "-js",
            "-sd",
            str(self.folder),
            "-a",
            "127.0.0.1",
            "-p",
            str(self.port),
            *self.more(),
        ]

    def more(self) -> list[str]:
        return []


class Redis(Broker):
    """Redis that writes each command to disk before it replies."""

    def command(self) -> list[str]:
        return [
            program("redis-server") or "redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
            "--appendonly", "yes", "--appendfsync", "always", "--save", "",
        ]  # fmt: skip

    def is_up(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as line:
            line.sendall(b"PING\r\n")
            line.settimeout(2)
            return line.recv(100).startswith(b"+PONG")
        return False


class Rabbit(Broker):
    """RabbitMQ with an epmd of its own, which would outlive it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._epmd_port = free_port()
        self._epmd: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        return [program("rabbitmq-server") or "rabbitmq-server"]

    def environment(self) -> dict[str, str]:
        (self.folder / "enabled_plugins").write_text("[].\n")
        (self.folder / "rabbitmq.conf").write_text("loopback_users = none\nmax_message_size = 2097152\n")
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("RABBITMQ_")},
            "HOME": str(self.folder),
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/usr/bin:/bin",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"qctl{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(self.port + 20000 if self.port < 40000 else self.port - 20000),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_FEATURE_FLAGS_FILE": str(self.folder / "feature_flags"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            # Two cores that other tests use too.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}",
        }

    def is_up(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as line:
            line.sendall(b"AMQP\x00\x00\x09\x01")
            line.settimeout(2)
            return bool(line.recv(8))
        return False

    def control(self, *arguments: str) -> None:
        """Runs rabbitmqctl."""
        env = self.environment()
        command = [program("rabbitmqctl") or "rabbitmqctl", "-q", "-n", env["RABBITMQ_NODENAME"], *arguments]
        subprocess.run(command, env=env, check=True, capture_output=True, timeout=60)

    def start(self, within_s: float = 120) -> "Broker":
        if self._epmd is None:
            self._epmd = subprocess.Popen(
                [program("epmd") or "epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"],
                env=self.environment(),
            )
        return super().start(within_s)

    def close(self) -> None:
        super().close()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()


class Moto(Broker):
    """SQS as moto has it: its semantics, not its speed."""

    def command(self) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]


_KAFKA = textwrap.dedent("""
    import ctypes, glob, pathlib, sys
    import confluent_kafka
    place = pathlib.Path(confluent_kafka.__file__).parent
    found = [*glob.glob(f"{place}.libs/librdkafka*"), *glob.glob(f"{place}/.dylibs/librdkafka*")]
    library = ctypes.CDLL(found[0])
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    text = ctypes.create_string_buffer(512)
    client = ctypes.c_void_p(library.rd_kafka_new(0, ctypes.c_void_p(library.rd_kafka_conf_new()), text, 512))
    cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(client, 1))
    print(library.rd_kafka_mock_cluster_bootstraps(cluster).decode(), flush=True)
    for line in sys.stdin:
        command, *codes = line.split()
        if command == "fail":
            # 0 is the key of a Produce request.
            errors = [ctypes.c_int(int(code)) for code in codes]
            library.rd_kafka_mock_push_request_errors(cluster, ctypes.c_int16(0), ctypes.c_size_t(len(errors)), *errors)
        elif command == "down":
            library.rd_kafka_mock_broker_set_down(cluster, ctypes.c_int32(1))
        elif command == "up":
            library.rd_kafka_mock_broker_set_up(cluster, ctypes.c_int32(1))
        print("done", flush=True)
""")


class Kafka:
    """librdkafka's mock cluster, in a process of its own. It keeps nothing on disk."""

    def __init__(self, _folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _KAFKA], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        self.place = self.process.stdout.readline().strip()

    def tell(self, command: str) -> None:
        """``fail CODE …``: answer the next requests to produce with these errors; ``down``, ``up``."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        self.process.stdout.readline()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


class Proxy:
    """Passes bytes on to a port, and cuts every connection when it is told to. ``sent``: the first of what clients said."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.sent = bytearray()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Closes what is open with a reset, in both directions."""
        for line in self._open:
            with suppress(OSError):
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                line.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._to))
                except OSError:
                    near.close()
                    continue
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(source, sink, source is near), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, noted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if noted and len(self.sent) < 1 << 20:
                    self.sent += data
                sink.sendall(data)
        for line in (source, sink):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        source.close()


MISSING: dict[str, Callable[[], str | None]] = {
    "rabbitmq": lambda: None if program("rabbitmq-server") else "rabbitmq-server is not installed",
    "nats": lambda: None if program("nats-server") else "nats-server is not installed",
    "redis": lambda: None if program("redis-server") else "redis-server is not installed",
}
