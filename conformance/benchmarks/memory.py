"""The memory that a command takes with all its processes: on Linux."""

from __future__ import annotations

import threading
import time
from pathlib import Path


class Memory(threading.Thread):
    """Watches a process and all below it.

    Attributes:
        peak: bytes, the largest sum of the proportional set sizes.
        processes: the most that there were at a time.
    """

    def __init__(self, root: int, pause: float = 1.0) -> None:
        """Look at the process `root` every `pause` seconds."""
        super().__init__(daemon=True)
        self.root, self.pause, self.peak, self.processes = root, pause, 0, 0

    def run(self) -> None:
        """Look, for as long as the process is there."""
        while Path(f"/proc/{self.root}").exists():
            tree = below(self.root)
            self.processes = max(self.processes, len(tree))
            self.peak = max(self.peak, sum(map(proportional, tree)))
            time.sleep(self.pause)


def below(root: int) -> set[int]:
    """A process and those below it."""
    parents = {int(path.name): parent(path) for path in Path("/proc").glob("[0-9]*")}
    tree, size = {root}, 0
    while len(tree) > size:
        size = len(tree)
        tree |= {pid for pid, above in parents.items() if above in tree}
    return tree


def parent(place: Path) -> int:
    """The parent of a process; 0 for one that has ended."""
    try:
        return int((place / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def proportional(pid: int) -> int:
    """Bytes of a process, what it shares divided among those that share it."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
