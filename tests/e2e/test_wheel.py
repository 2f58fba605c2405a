"""The wheel, installed alone: no dev dependencies, no checkout."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from processes import environment

TOP = Path(__file__).parents[2]


# Packages are installed from a registry, beside all other tests.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # The wheel is built from the sdist, so that one is whole, too.
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder), str(TOP)], check=True, capture_output=True)
    return next(folder.glob("qctl-*.whl"))


def test_the_wheel_holds_the_sql(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for path in (TOP / "sql").glob("**/*.sql"):
        assert f"qctl/sql/{path.relative_to(TOP / 'sql')}" in names
    assert "qctl/py.typed" in names
    shared = {name.partition(".data/data/")[2] for name in names}
    assert {
        "share/bash-completion/completions/qctl",
        "share/zsh/site-functions/_qctl",
        "share/fish/vendor_completions.d/qctl.fish",
    } <= shared


def test_it_installs_and_works_without_dev_dependencies(wheel, empty_dsn, tmp_path):
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    python, qctl = venv / "bin/python", venv / "bin/qctl"
    subprocess.run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", str(wheel)], check=True)

    def run(*arguments: str, **extra: str) -> subprocess.CompletedProcess:
        env = environment(QCTL_DSN=empty_dsn, **extra)
        return subprocess.run(
            [str(qctl), *arguments], env=env, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    assert run("--version").returncode == 0
    assert run("install").returncode == 0
    assert run("create", "orders", "--url", "http://127.0.0.1:9/").returncode == 0
    assert run("send", "{}").returncode == 0
    assert run("worker", "--all", "--once").returncode == 0
    assert "retrying" in run("show", "1").stdout
    (tmp_path / "tmp").mkdir()
    without_extra = run("demo", TMPDIR=str(tmp_path / "tmp"))
    assert list((tmp_path / "tmp").iterdir()) == []
    assert without_extra.returncode == 4
    assert "pip install 'qctl[embedded]'" in without_extra.stderr
    scraped = run("metrics")
    assert (scraped.returncode, "pip install 'qctl[metrics]'" in scraped.stderr) == (4, True)


def test_pipx_and_uvx_run_it(wheel, tmp_path):
    env = environment(
        PIPX_HOME=str(tmp_path / "pipx"), PIPX_BIN_DIR=str(tmp_path / "bin"), UV_TOOL_DIR=str(tmp_path / "uv")
    )
    command = [sys.executable, "-m", "pipx", "install", "--python", sys.executable, str(wheel)]
    subprocess.run(command, env=env, check=True, capture_output=True)
    uvx = [
        str(Path(sys.executable).with_name("uv")),
        "tool",
        "run",
        "--python",
        sys.executable,
        "--from",
        str(wheel),
        "qctl",
    ]
    for started in ([str(tmp_path / "bin/qctl")], uvx):
        done = subprocess.run([*started, "--version"], env=env, check=True, capture_output=True, text=True)
        assert re.fullmatch(r"qctl \d+\.\d+\.\d+\n", done.stdout)


@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
def test_it_installs_on_other_pythons(wheel, tmp_path, version):
    python = next(
        iter([*Path.home().glob(f".pyenv/versions/{version}.*/bin/python"), shutil.which(f"python{version}")]), None
    )
    if python is None:
        pytest.skip(f"no Python {version} here")
    subprocess.run([str(python), "-m", "venv", str(tmp_path / "venv")], check=True)
    pip = [str(tmp_path / "venv/bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    for arguments in (
        ["--version"],
        ["--help"],
        ["replay", "--help"],
        ["completion", "zsh"],
        ["help", "endpoint-down"],
    ):
        done = subprocess.run(
            [str(tmp_path / "venv/bin/qctl"), *arguments], env=environment(), check=True, capture_output=True, text=True
        )
        assert done.stdout
        assert done.stderr == ""
