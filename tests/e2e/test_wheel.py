"""The wheel, installed alone: no dev dependencies, no checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from processes import environment

TOP = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(TOP)], check=True, capture_output=True
    )
    return next(folder.glob("qctl-*.whl"))


def test_the_wheel_holds_the_sql(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for path in (TOP / "sql").glob("**/*.sql"):
        assert f"qctl/sql/{path.relative_to(TOP / 'sql')}" in names
    assert "qctl/py.typed" in names


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
