"""Which database: each source before the next, with both set; what a profile may say."""

import itertools
import subprocess

import pytest

from processes import QCTL, qctl
from qctl import config
from qctl.errors import UsageError

FILE = """
default = "dev"

[profiles.dev]
host = "dev.example.com"
dbname = "app"

[profiles.prod]
dsn = "postgresql://me@prod.example.com/app"
sslmode = "require"
"""

ORDER = ["option", "variable", "default profile", "DATABASE_URL", "libpq"]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(FILE)
    return path


def asked(file, sources: set[str], *, by_profile: bool) -> config.Database:
    environ = {"QCTL_CONFIG": str(file if "default profile" in sources or by_profile else file.with_name("none.toml"))}
    if by_profile and "default profile" not in sources:
        file.write_text(FILE.replace('default = "dev"', ""))
    if "variable" in sources:
        environ["QCTL_PROFILE" if by_profile else "QCTL_DSN"] = "prod" if by_profile else "host=variable"
    if "DATABASE_URL" in sources:
        environ["DATABASE_URL"] = "host=url"
    option = "option" in sources
    return config.database(
        "host=option" if option and not by_profile else None, "prod" if option and by_profile else None, environ
    )


SOURCES = {
    ("option", False): "--dsn", ("option", True): "--profile", ("variable", False): "QCTL_DSN", ("variable",
    True): "QCTL_PROFILE",
}  # fmt: skip


@pytest.mark.parametrize("by_profile", [False, True])
@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(ORDER, 2)))
def test_of_each_pair_the_first_wins(file, first, second, by_profile):
    found = asked(file, {first, second}, by_profile=by_profile)
    expected = SOURCES.get((first, by_profile), {"default profile": "the default profile"}.get(first, first))
    assert found.source == expected


@pytest.mark.parametrize(
    ("dsn", "profile", "environ"),
    [("host=a", "prod", {}), (None, None, {"QCTL_DSN": "host=a", "QCTL_PROFILE": "prod"})],
)
def test_two_of_one_rank_are_refused(file, dsn, profile, environ):
    with pytest.raises(UsageError, match="name two databases"):
        config.database(dsn, profile, {"QCTL_CONFIG": str(file), **environ})


def test_an_option_of_the_one_kind_beats_a_variable_of_the_other(file):
    both = {"QCTL_CONFIG": str(file), "QCTL_DSN": "host=a"}
    assert config.database(None, "prod", both).source == "--profile"
    assert config.database("host=b", None, {"QCTL_CONFIG": str(file), "QCTL_PROFILE": "prod"}).source == "--dsn"


def test_what_a_profile_says(file):
    found = config.database(None, "prod", {"QCTL_CONFIG": str(file)})
    assert found.profile == "prod"
    assert "prod.example.com" in found.conninfo
    assert "require" in found.conninfo


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        (FILE, "staging", "its profiles: dev, prod"),
        ("[profiles.x]\nhots = 1", "x", "hots"),
        ("[profiles.x]", "x", "is empty"),
        ("profiles = 1", "x", "its profiles: none"),
        ("[profiles.x", "x", "is not valid TOML"),
        ("profile = 1", "x", "no such key: profile"),
        ('[profiles.x]\ndsn = "postgresql://me:geheim@h/d"', "x", "others can read the file"),
    ],
)
def test_a_profile_that_cannot_be_used(tmp_path, text, name, words):
    path = tmp_path / "config.toml"
    path.write_text(text)
    path.chmod(0o644)
    with pytest.raises(UsageError) as raised:
        config.database(None, name, {"QCTL_CONFIG": str(path)})
    assert words in f"{raised.value.message} {raised.value.hint}"
    assert "geheim" not in f"{raised.value.message} {raised.value.hint} {raised.value.detail}"


def test_where_the_file_is(tmp_path):
    assert config.config_file({"QCTL_CONFIG": "/x.toml"}).as_posix() == "/x.toml"
    assert config.config_file({"XDG_CONFIG_HOME": "/c"}).as_posix() == "/c/qctl/config.toml"
    assert config.config_file({"HOME": "/h"}).as_posix() == "/h/.config/qctl/config.toml"
    assert config.config_file({}).name == "config.toml"


def test_a_file_in_the_current_folder_is_never_read(tmp_path):
    (tmp_path / "config.toml").write_text(FILE)
    done = subprocess.run([str(QCTL), "status", "--profile", "prod"], cwd=tmp_path, env={"HOME": "/nonexistent", "PATH": "/bin"},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 2
    assert "profile 'prod' not found" in done.stderr


def test_the_nightly_line_with_a_profile(conn, dsn, tmp_path):
    path = tmp_path / ".config/qctl/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(f'[profiles.prod]\ndsn = "{dsn}"\n')
    path.chmod(0o600)
    env = {"HOME": str(tmp_path), "PATH": f"{QCTL.parent}:/usr/bin:/bin"}
    for line in ("qctl --profile prod purge --older-than 7d", "qctl purge --older-than 7d --profile prod"):
        done = subprocess.run(
            ["/bin/sh", "-c", line], env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert qctl("status", "--profile", "prod", "--dsn", dsn).returncode == 2
