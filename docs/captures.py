"""Run anew what the pages show of a terminal, so that it stays true.

A capture stands between two comments, the first of which says how it was made:

    <!-- captured: COMMAND -->  or  <!-- captured, first 9 lines: COMMAND -->, or last
    a fenced block
    <!-- end captured -->

The commands run in one new folder, in the order of the pages, where the first Python of a page is
a file. `A && B` runs both and shows what B prints. What a command writes to stderr, progress for
example, is not shown.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: The pages, and the names under which their Python is there.
PAGES = {
    "docs/judge.md": "mine.py",
    "docs/index.md": "",
    "docs/judge/kernels.md": "kernel.py",
    "docs/judge/maintainers.md": "",
    "docs/vectors.md": "device.py",
    "README.md": "",
}
CAPTURE = re.compile(
    r"(?P<head><!-- captured(?:, (?P<end>first|last) (?P<most>\d+) lines)?: "
    r"(?P<command>.*?) -->\n```\w+\n)"
    r".*?(?P<tail>```\n<!-- end captured -->)",
    re.DOTALL,
)
EXAMPLE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def main() -> None:
    """Rewrite every capture of every page."""
    with tempfile.TemporaryDirectory() as folder:
        for name, file in PAGES.items():
            page = ROOT / name
            text = page.read_text("utf-8")
            if file and (example := EXAMPLE.search(text)):
                (Path(folder) / file).write_text(example[1], "utf-8")
            page.write_text(CAPTURE.sub(lambda found: _again(found, folder), text), "utf-8")


def _again(found: re.Match[str], folder: str) -> str:
    """One capture with the output that its command has today."""
    for command in found["command"].split(" && "):
        ran = subprocess.run(  # noqa: S603 - the command stands on a page of this repository
            shlex.split(command), cwd=folder, stdout=subprocess.PIPE, text=True, check=False
        )
    lines = [line.rstrip() for line in ran.stdout.strip("\n").splitlines()]
    most = int(found["most"] or len(lines))
    if most < len(lines):
        lines = ["...", *lines[-most:]] if found["end"] == "last" else [*lines[:most], "..."]
    return "\n".join([found["head"] + "\n".join(lines), found["tail"]])


if __name__ == "__main__":
    main()
