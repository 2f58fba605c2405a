"""Totals of one worker, for people."""

from dataclasses import dataclass, fields

from qctl.models import Settled


@dataclass(slots=True)
class Totals:
    """Totals since the start, as the database reported them."""

    claimed: int = 0
    delivered: int = 0
    retrying: int = 0
    dead: int = 0
    paused: int = 0
    late: int = 0
    failed: int = 0
    unsent: int = 0

    def add(self, settled: Settled) -> None:
        """Adds what one settle did."""
        self.delivered += settled.delivered
        self.retrying += settled.retrying
        self.dead += settled.dead
        self.paused += settled.paused
        self.late += settled.late
        self.failed += settled.failed

    def include(self, other: "Totals") -> None:
        """Adds another worker's totals."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def __str__(self) -> str:
        parts = [f"{self.delivered:,} delivered"]
        parts += [
            f"{count:,} {word}"
            for word, count in (
                ("attempts failed", self.retrying),
                ("dead", self.dead),
                ("answered 410", self.paused),
                ("late", self.late),
                ("not settled", self.failed),
                ("returned unsent", self.unsent),
            )
            if count
        ]
        return ", ".join(parts)
