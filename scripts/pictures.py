"""Terminal pictures of real commands, as SVG: what they printed in a terminal of 110 columns on the story of examples.py."""

import io
import re
from pathlib import Path

import pexpect
from examples import Story, environment, readable
from rich.console import Console
from rich.text import Text

COLUMNS = 110
# By file name: the line, as a reader would type it.
LINES = {
    "status": "qctl status",
    "doctor": "qctl doctor",
    "show": "qctl show users/2",
    "dead": "qctl dead",
}
_FONT_FACE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def take(told: Story, folder: Path) -> None:
    """Writes the pictures into a folder, of the story as it stands."""
    folder.mkdir(exist_ok=True)
    for name, line in LINES.items():
        env = environment(told) | {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "QCTL_CONFIG": "none.toml"}
        terminal = pexpect.spawn("bash", ["-c", line], env=env, encoding="utf-8", dimensions=(50, COLUMNS), timeout=60)
        terminal.expect(pexpect.EOF)
        terminal.close()
        console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
        console.print(Text.from_ansi(f"$ {line}\n" + readable(terminal.before.replace("\r", ""), told)))
        # The fonts of the reader's machine do; none is fetched.
        svg = _FONT_FACE.sub("", console.export_svg(title="qctl", unique_id=f"qctl-{name}"))
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
