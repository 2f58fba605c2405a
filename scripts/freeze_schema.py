"""Freezes the present schema, with seed rows, as ``tests/upgrade/released/<version>.sql``, and the migrations' checksums.

Run once when a schema lands. From then on its migrations never change, and every later schema must be reachable from it.
"""

import sys
import tempfile
from pathlib import Path

from qctl import __version__, db
from qctl.config import Database
from qctl.db import files
from qctl.demo import embedded
from qctl.operations import migrate

sys.path.insert(0, str(Path(__file__).parent))
import schema_dump

RELEASED = Path(__file__).parents[1] / "tests/upgrade/released"


def main() -> None:
    """Writes the dump and the checksums."""
    folder = Path(tempfile.mkdtemp(prefix="qctl-freeze-"))
    folder.chmod(0o755)
    server = embedded.start(folder / "data", keep=False)
    uri = server.get_uri("postgres")
    with db.connect(Database(uri, "freeze"), application="freeze") as connection:
        migrate.apply(connection)
        connection.execute((RELEASED / "seed.sql").read_bytes())
    (RELEASED / f"v{__version__}.sql").write_text(schema_dump.whole(uri), encoding="utf-8")
    server.cleanup()
    folder.rmdir()
    checksums = [f"{file.checksum}  {file.version:04d}_{file.name}\n" for file in files.migrations()]
    (RELEASED / "checksums.txt").write_text("".join(checksums), encoding="utf-8")


if __name__ == "__main__":
    main()
