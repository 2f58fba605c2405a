"""How long a person waits for help: ``qctl --help`` beside ``pgq --help``, each of a wheel in an environment of its own.

In turn, in one run; the figures are medians of ROUNDS processes, in seconds.
"""

import statistics
import subprocess
import time

from rig import HERE, machine, peer

ROUNDS = 21


def seconds(command: list[str]) -> float:
    """The time of one process from its start to its end."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Prints both and their ratio."""
    python = peer("qctl", str(HERE.parent))
    anew = [
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        "--no-deps",
        "--force-reinstall",
        str(HERE.parent),
    ]
    subprocess.run([str(python), *anew], check=True)
    ours = python.parent
    theirs = peer("pgqueuer", "pgqueuer", "asyncpg", "aiohttp", "uvloop", "typer").parent
    commands = {
        "qctl --help": [str(ours / "qctl"), "--help"],
        "qctl --version": [str(ours / "qctl"), "--version"],
        "qctl status --help": [str(ours / "qctl"), "status", "--help"],
        "pgq --help": [str(theirs / "pgq"), "--help"],
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():
        seconds(command)
    for _ in range(ROUNDS):
        for name, command in commands.items():
            taken[name].append(seconds(command))
    print(machine())
    for name, values in taken.items():
        print(f"{name:20} {statistics.median(values):.3f} s")
    ratio = statistics.median(taken["qctl --help"]) / statistics.median(taken["pgq --help"])
    print(f"ratio                {ratio:.2f}")


if __name__ == "__main__":
    main()
