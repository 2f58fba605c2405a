"""The longest wait of a writer while a command changes what captures its table, with a transaction held open on another table.

Three tables are captured into one queue of 50,000 messages. Four writers insert into the first without a pause. A
transaction that wrote to the second table, and so to the queue, stays open for three seconds; then one that wrote to the third
does.
"""

import subprocess
import sys
import threading
import time

import psycopg
from rig import create, options, site

HELD_S = 3.0
WRITERS = 4
VERBS = {
    "set --ordered": ["set", "-q", "bench", "--ordered"],
    "set --no-ordered": ["set", "-q", "bench", "--no-ordered"],
    "attach": ["attach", "public.t1", "-q", "second"],
    "attach --change": ["attach", "public.t1", "-q", "bench", "--change", "--replicated"],
    "detach": ["detach", "public.t1", "-q", "bench"],
    "partition": ["partition", "-q", "bench"],
    "drop": ["drop", "bench", "--discard", "--yes"],
    "uninstall": ["uninstall", "--yes"],
}
FILL = """
    insert into pgmq.q_bench (vt, message, headers)
    select now(), jsonb_build_object('n', n), jsonb_build_object('x-pgmq-group', n %% 100) from generate_series(1, %s) n"""


def measure(uri: str, command: list[str], messages: int) -> tuple[float, float, int]:
    """The longest wait of a writer and the time of the command, in seconds, and the writes done."""
    with psycopg.connect(uri, autocommit=True) as connection:
        for name in ("bench", "second"):
            create(connection, name, "http://127.0.0.1:9/x")
        for table in ("t1", "t2", "t3"):
            connection.execute(f"create table public.{table} (id int)")
            connection.execute("select qctl.attach(%s, 'bench')", [f"public.{table}"])
        connection.execute(FILL, [messages])
    done = threading.Event()
    waits: list[float] = []

    def write() -> None:
        with psycopg.connect(uri, autocommit=True) as writer:
            while not done.is_set():
                started = time.perf_counter()
                writer.execute("insert into public.t1 values (1)")
                waits.append(time.perf_counter() - started)

    def hold() -> None:
        for table in ("t2", "t3"):
            with psycopg.connect(uri) as holder:
                holder.execute(f"insert into public.{table} values (1)")
                time.sleep(HELD_S)

    threads = [threading.Thread(target=hold), *(threading.Thread(target=write) for _ in range(WRITERS))]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    started = time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-m", "qctl", *command, "--dsn", uri], capture_output=True, text=True, check=False
    )
    took = time.perf_counter() - started
    done.set()
    for thread in threads:
        thread.join()
    if result.returncode:
        print(f"{command}: {result.stderr}", file=sys.stderr)
    return max(waits), took, len(waits)


def main() -> None:
    """One database for each verb."""
    size = options(__doc__, rounds=(1, 1), messages=(50_000, 1_000))
    print(f"{'verb':<18}{'longest wait':>14}{'command took':>14}{'writes':>10}")
    for name, command in VERBS.items():
        with site() as (_, uri):
            longest, took, writes = measure(uri, command, size.messages)
        print(f"{name:<18}{longest:>12.2f} s{took:>12.1f} s{writes:>10}")


if __name__ == "__main__":
    main()
