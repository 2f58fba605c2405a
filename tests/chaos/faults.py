"""Each fault: how it is injected, over and over, under load. All end in :meth:`Rig.finish`, which counts."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
from rig import Fault, Proxy, Result, is_root, rig

from servers import DebianServer

FAULTS: dict[str, Fault] = {}


def fault(name: str):
    def add(function: Fault) -> Fault:
        FAULTS[name] = function
        return function

    return add


def _spread(r, injections: int, messages: int) -> Iterator[int]:
    """Feeds the messages in as many parts; yields when the endpoint has taken a third of each."""
    part = messages // injections
    for n in range(injections):
        r.send(part)
        r.wait_for_accepted(n * part + part // 3)
        yield n


@fault("worker: kill -9")
def kill(folder: Path, injections: int, messages: int, _long_s: float) -> Result:
    with rig(folder, "--delay-s", "0.01") as r:
        victim = r.worker()
        recoveries = []
        for _ in _spread(r, injections, messages):
            r.signal(victim, signal.SIGKILL)
            recoveries.append(r.recovery())
        return r.finish("worker: kill -9", injections, recoveries)


@fault("worker: stopped, then continued")
def stop_and_continue(folder: Path, injections: int, messages: int, long_s: float) -> Result:
    with rig(folder, "--delay-s", "0.01") as r:
        victim = r.worker()
        r.worker()
        recoveries = []
        for _ in _spread(r, injections, messages):
            r.signal(victim, signal.SIGSTOP)
            recoveries.append(r.recovery())
            time.sleep(long_s)
            r.signal(victim, signal.SIGCONT)
        return r.finish("worker: stopped, then continued", injections, recoveries)


@fault("worker and server: silence between them")
def silence(folder: Path, injections: int, messages: int, long_s: float) -> Result:
    with rig(folder, "--delay-s", "0.01") as r:
        proxy = Proxy(r.server.port)
        r.worker(proxy.uri())
        recoveries = []
        for _ in _spread(r, injections, messages):
            proxy.black_hole(long_s)
            recoveries.append(r.recovery())
        result = r.finish("worker and server: silence between them", injections, recoveries)
        proxy.close()
        return result


@fault("worker and server: packets lost")
def packets_lost(folder: Path, injections: int, messages: int, long_s: float) -> Result:
    """The worker and its endpoint in a network namespace of their own, whose cable is pulled. Root only."""
    name = "packets lost"
    space, host, guest = "qctl_chaos", "qctlc0", "qctlc1"

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    if not is_root():
        raise PermissionError("network namespaces want root")
    subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)
    ip("netns", "add", space)
    try:
        ip("link", "add", host, "type", "veth", "peer", "name", guest)
        ip("link", "set", guest, "netns", space)
        ip("addr", "add", "10.213.7.1/30", "dev", host)
        ip("link", "set", host, "up")
        for words in (
            ("addr", "add", "10.213.7.2/30", "dev", guest),
            ("link", "set", guest, "up"),
            ("link", "set", "lo", "up"),
        ):
            ip("-n", space, *words)
        with rig(folder, "--delay-s", "0.01", listen_addresses="'*'") as r:
            with (r.server.data / "pg_hba.conf").open("a") as hba:
                hba.write("host all all 10.213.7.0/30 trust\n")
            r.server.tool("pg_ctl", "-D", str(r.server.data), "reload")
            inside = ["ip", "netns", "exec", space]
            r.endpoint.move_into(*inside)
            with r.connect() as connection:
                connection.execute("select qctl.set_queue('orders', %s)", (r.endpoint.url,))
            r.worker(f"postgresql://postgres@10.213.7.1:{r.server.port}/postgres", *inside)
            recoveries = []
            for _ in _spread(r, injections, messages):
                ip("link", "set", host, "down")
                time.sleep(long_s)
                ip("link", "set", host, "up")
                recoveries.append(r.recovery())
            return r.finish(f"worker and server: {name}", injections, recoveries)
    finally:
        subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", host], capture_output=True, check=False)


@fault("worker and server: connections cut")
def cut(folder: Path, injections: int, messages: int, _long_s: float) -> Result:
    with rig(folder, "--delay-s", "0.01") as r:
        proxy = Proxy(r.server.port)
        r.worker(proxy.uri())
        recoveries = []
        for _ in _spread(r, injections, messages):
            proxy.cut()
            recoveries.append(r.recovery())
        result = r.finish("worker and server: connections cut", injections, recoveries)
        proxy.close()
        return result


@fault("server: kill -9 of a backend")
def backend(folder: Path, injections: int, messages: int, _long_s: float) -> Result:
    with rig(folder, "--delay-s", "0.01") as r:
        r.worker()
        recoveries = []
        for _ in _spread(r, injections, messages):
            r.server.kill_a_backend()
            recoveries.append(r.recovery())
        return r.finish("server: kill -9 of a backend", injections, recoveries)


@fault("server: stopped at once, started again")
def immediate(folder: Path, injections: int, messages: int, _long_s: float) -> Result:
    return _restarts(folder, injections, messages, "server: stopped at once, started again")


@fault("server: the same with synchronous_commit off")
def lazy(folder: Path, injections: int, messages: int, _long_s: float) -> Result:
    return _restarts(
        folder, injections, messages, "server: the same with synchronous_commit off", synchronous_commit="off"
    )


def _restarts(folder: Path, injections: int, messages: int, name: str, **settings: str) -> Result:
    with rig(folder, "--delay-s", "0.01", **settings) as r:
        r.worker()
        recoveries = []
        for _ in _spread(r, injections, messages):
            r.server.stop("immediate")
            r.server.start()
            recoveries.append(r.recovery())
        return r.finish(name, injections, recoveries)


@fault("server: connection table full")
def full(folder: Path, injections: int, messages: int, long_s: float) -> Result:
    with rig(folder, "--delay-s", "0.01", max_connections="12", superuser_reserved_connections="1") as r:
        victim = r.worker()
        recoveries = []
        for _ in _spread(r, injections, messages):
            with contextlib.ExitStack() as stack:
                r.signal(victim, signal.SIGKILL)
                with contextlib.suppress(psycopg.OperationalError):
                    while True:
                        stack.enter_context(psycopg.connect(r.dsn))
                time.sleep(min(long_s, 10))
            recoveries.append(r.recovery())
        return r.finish("server: connection table full", injections, recoveries)


@fault("server: standby promoted without the last claims")
def promoted(folder: Path, injections: int, messages: int, _long_s: float) -> Result:
    """The old worker still holds answers of claims that the standby never saw; a new cluster for each injection."""
    results = []
    for n in range(injections):
        place = folder / f"promoted{n}"
        place.mkdir()
        results.append(_promoted(place, messages // injections))
    return Result(
        "server: standby promoted without the last claims", injections, *(sum(getattr(one_, name) for one_ in results)
            for name in ("messages", "lost", "false", "dead", "duplicates")), max(one_.recovery_s for one_ in results),
    )  # fmt: skip


def _promoted(folder: Path, messages: int) -> Result:
    with rig(folder, "--delay-s", "0.3") as r:
        r.send(messages)
        backup = r.server.folder / "backup"
        r.server.tool("pg_basebackup", "-d", r.dsn, "-D", str(backup), "-X", "stream", "-c", "fast")
        standby = DebianServer(backup, primary_conninfo=f"'{r.dsn}'", hot_standby="on")
        try:
            (standby.data / "standby.signal").touch()
            standby.start()
            proxy = Proxy(r.server.port)
            r.worker(proxy.uri())
            r.wait_for_accepted(messages // 4)
            # From here on the standby hears nothing more; then claims go on for a while, and the primary is gone.
            with psycopg.connect(standby.uri(), autocommit=True) as connection:
                connection.execute("alter system set primary_conninfo = ''")
                connection.execute("select pg_reload_conf()")
            time.sleep(1.0)
            r.server.stop("immediate")
            proxy.target = standby.port
            standby.tool("pg_ctl", "-D", str(standby.data), "-w", "promote")
            old, r.server, r.dsn = r.server, standby, standby.uri()
            recovery = r.recovery()
            result = r.finish("promoted", 1, [recovery])
            proxy.close()
            r.server = old
            return result
        finally:
            standby.close()


@fault("endpoint: hangs, resets, closes, drips, 100 MB, 500, 429")
def endpoint(folder: Path, injections: int, messages: int, _long_s: float) -> Result:
    kinds = "hang,reset,close,drip,huge,500,429,200-slow"
    with rig(folder, "--fail-rate", "0.05", "--failures", kinds, "--hang-s", "5") as r:
        r.worker()
        for _ in _spread(r, injections, messages):
            pass
        return r.finish("endpoint: hangs, resets, closes, drips, 100 MB, 500, 429", injections, [])


@fault("endpoint: gone for a while")
def endpoint_gone(folder: Path, injections: int, messages: int, long_s: float) -> Result:
    with rig(folder, "--delay-s", "0.01") as r:
        r.worker()
        recoveries = []
        for _ in _spread(r, injections, messages):
            r.endpoint.kill()
            time.sleep(min(long_s, 5))
            r.endpoint.start_again()
            recoveries.append(r.recovery())
        return r.finish("endpoint: gone for a while", injections, recoveries)
