"""Documents say what the commands do."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from qctl.cli.app import whole
from qctl.errors import ExitCode

TOP = Path(__file__).parents[1]
COMMANDS = sorted(command.name for command in whole().registered_commands)
DOCS = [TOP / "README.md", *(TOP / "docs").glob("**/*.md")]


def test_every_command_is_in_the_reference_and_in_the_readme():
    reference = (TOP / "docs/cli.md").read_text()
    readme = (TOP / "README.md").read_text()
    for command in COMMANDS:
        assert f"### qctl {command}\n" in reference
        assert re.search(rf"`(qctl )?{command}\b", readme), command


def test_generated_files_are_fresh():
    done = subprocess.run(
        [sys.executable, str(TOP / "scripts/generate.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_exit_code_is_explained_and_tested():
    page = (TOP / "docs/exit-codes.md").read_text()
    tests = "\n".join(path.read_text() for path in (TOP / "tests").glob("**/*.py"))
    for code in ExitCode:
        assert f"| {code.value} |" in page, code
        forms = (rf"failing\({code.value},", rf"code == {code.value}\b", rf"code, \S+\) == \({code.value}\b")
        assert any(re.search(form, tests) for form in forms), code


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target


NEVER = {
    "subscriber": r"\bsubscribers?\b",
    "DLQ": r"\bDLQ\b",
    "poison": r"\bpoison",
    "backlog as a measure": r"\bqueue (length|size)\b",
    "resend": r"\bresend\b",
    "requeue": r"\brequeue",
    "job": r"\bjobs? (in|of) (the|a) queue\b",
}


def test_the_glossarys_never_column_is_kept():
    """One noun, one meaning: in SQL, Python, help and documents. The glossary and the synonyms may name what is not said."""
    texts = [*DOCS, *(TOP / "sql").glob("**/*.sql"), *(TOP / "src").glob("**/*.py")]
    for path in texts:
        # The code of the consumers has the words of the brokers' libraries.
        if path.name in ("glossary.md", "synonyms.py", "consumers.md"):
            continue
        for word, pattern in NEVER.items():
            assert not re.search(pattern, path.read_text(), re.IGNORECASE), (path.name, word)


REFUSED = [
    r"\bmend(s|ed|ing)?\b",
    r"\bis no (valid|toml|time|gzip|url|json|id|number|status)",
    r", for (it|they|he|there|this|that|what) (is|are|has|have|had|would|may|was|were)\b",
    r"\bwhereof\b",
    r"\bas which\b",
    r"\bbehind (our|your) back\b",
    r"\bcries\b",
    r"\bflying\b",
    r"\bso often\b",
    r"\bone or other\b",
]


def texts_of_python(path: Path) -> list[str]:
    """The strings of a module, without docstrings except those of commands, which are their help."""
    tree = ast.parse(path.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
        and not (path.parent.name == "commands" and isinstance(node, ast.FunctionDef))
    }  # fmt: skip
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]


def texts_of_sql(path: Path) -> list[str]:
    """A file without its comments: what is left of English in it are messages and what psql users see."""
    return [re.sub(r"--[^\n]*", "", path.read_text())]


def texts_of_document(path: Path) -> list[str]:
    """A document; the page of changes and that of upgrades may name an old key in backticks."""
    text = path.read_text()
    return [re.sub(r"`[^`\n]*`", "", text) if path.name in ("CHANGELOG.md", "upgrading.md") else text]


def test_the_patterns_that_english_does_not_use_are_refused():
    """What a user reads is plain standard English: documents, help, errors, findings."""
    texts = [
        (path, texts_of_document(path))
        for path in [*DOCS, TOP / "CHANGELOG.md", TOP / "SECURITY.md", TOP / "CONTRIBUTING.md"]
    ]
    texts += [(path, texts_of_python(path)) for path in (TOP / "src").rglob("*.py")]
    sql = [
        path for path in (TOP / "sql").rglob("*.sql") if path.parent.name != "migrations" and path.name != "schema.sql"
    ]
    texts += [(path, texts_of_sql(path)) for path in sql]
    found = [
        f"{path.relative_to(TOP)}: {match[0]}"
        for path, parts in texts
        for part in parts
        for pattern in REFUSED
        if (match := re.search(pattern, part, re.IGNORECASE))
    ]
    assert not found


def test_release_notes_come_from_the_changelog():
    script = [sys.executable, str(TOP / "scripts/release_notes.py")]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("### ")
    assert "### Schema" in done.stdout
    assert "## [" not in done.stdout
    assert subprocess.run([*script, "9.9.9"], capture_output=True, check=False).returncode == 1


def test_each_example_has_an_output_and_each_picture_is_shown():
    text = (TOP / "docs/cli.md").read_text()
    assert text.count("```console") == len(re.findall(r"^### qctl ", text, re.MULTILINE))
    readme = (TOP / "README.md").read_text()
    for name in ("status", "doctor", "show"):
        svg = (TOP / f"docs/pictures/{name}.svg").read_text()
        assert f"docs/pictures/{name}.svg" in readme
        assert f"qctl&#160;{name}" in svg
        assert "@font-face" not in svg
