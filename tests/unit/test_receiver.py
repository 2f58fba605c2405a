"""The ledger of the demo's and the tests' endpoint, read while it is written."""

import json
import threading

from qctl.demo.receiver import read_ledger

COUNT = 3000


def test_a_line_that_is_being_written_is_left_for_the_next_reading(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.touch()
    line = json.dumps({"at": 1.5, "webhook_id": "orders/1", "answer": "200", "body_sha256": "00"}) + "\n"

    def write() -> None:
        with path.open("a", encoding="utf-8") as ledger:
            for _ in range(COUNT):
                for piece in (line[:20], line[20:]):
                    ledger.write(piece)
                    ledger.flush()

    writer = threading.Thread(target=write)
    writer.start()
    seen = 0
    while writer.is_alive():
        entries = read_ledger(path)
        assert len(entries) >= seen
        assert all(entry.webhook_id == "orders/1" for entry in entries)
        seen = len(entries)
    writer.join()
    assert len(read_ledger(path)) == COUNT
