"""Run anew what the pages show of a terminal, so that it stays true.

A capture stands between two comments, the first of which says how it was made:

    <!-- captured: COMMAND -->  or  <!-- captured, first 9 lines: COMMAND -->, or last
    a fenced block
    <!-- end captured -->

The commands run in one new folder, in the order of the pages, where the first Pythons of a page
are files. `A && B` runs both and shows what B prints. What a command writes to stderr, progress
for example, is not shown.

Between `<!-- published: NAME -->` and `<!-- end published -->` stands what a run printed
elsewhere: the verdict of a published results file.
"""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

from bn1d_conformance.reports import report

ROOT = Path(__file__).resolve().parent.parent
#: The pages, and the names under which their Python is there.
PAGES: dict[str, list[str]] = {
    "docs/judge.md": ["mine.py"],
    "docs/index.md": [],
    "docs/judge/kernels.md": ["kernel.py"],
    "docs/judge/maintainers.md": [],
    "docs/judge/cuda.md": [],
    "docs/judge/teachers.md": [f"submissions/team_{k}.py" for k in (1, 2, 3)],
    "docs/wire.md": [],
    "docs/vectors.md": ["device.py"],
    "README.md": [],
}
CAPTURE = re.compile(
    r"(?P<head><!-- (?P<kind>captured|published)(?:, (?P<end>first|last) (?P<most>\d+) lines)?: "
    r"(?P<source>.*?) -->\n```\w+\n)"
    r".*?(?P<tail>```\n<!-- end (?P=kind) -->)",
    re.DOTALL,
)
EXAMPLE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def main() -> None:
    """Rewrite every capture of every page."""
    with tempfile.TemporaryDirectory() as folder:
        for name, files in PAGES.items():
            page = ROOT / name
            text = page.read_text("utf-8")
            for file, example in zip(files, EXAMPLE.findall(text), strict=False):
                path = Path(folder) / file
                path.parent.mkdir(exist_ok=True)
                path.write_text(example, "utf-8")
            page.write_text(CAPTURE.sub(lambda found: _again(found, folder), text), "utf-8")


def _again(found: re.Match[str], folder: str) -> str:
    """One capture with the output that its command, or its file, has today."""
    of_file = found["kind"] == "published"
    text = published(found["source"]) if of_file else _printed(found["source"], folder)
    lines = "\n".join(map(str.rstrip, text.splitlines())).strip("\n").splitlines()
    most = int(found["most"] or len(lines))
    if most < len(lines):
        lines = ["...", *lines[-most:]] if found["end"] == "last" else [*lines[:most], "..."]
    return "\n".join([found["head"] + "\n".join(lines), found["tail"]])


def _printed(commands: str, folder: str) -> str:
    """What the last of some commands prints."""
    for command in commands.split(" && "):
        ran = subprocess.run(  # noqa: S603 - the command stands on a page of this repository
            shlex.split(command), cwd=folder, stdout=subprocess.PIPE, text=True, check=False
        )
    return ran.stdout


def published(name: str) -> str:
    """What the run printed that a published results file is of."""
    file = ROOT / "conformance" / "results" / f"{name}.json"
    with redirect_stdout(io.StringIO()) as out:
        report.show(json.loads(file.read_text("utf-8")), None)
    return out.getvalue()


if __name__ == "__main__":
    main()
