"""The built site on loopback, and a Chromium that reads it: `nox -s site-tests`.

A reader remembers what its page complained about, and whom it asked beside the site.
"""

import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "site"
PICTURES = ROOT / "build" / "screenshots"
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 800}
PAPER = {"width": 794, "height": 1123}  # A4, at 96 dots an inch
#: One page of each kind.
KINDS = {
    "home": "index.html",
    "missing": "404.html",
    "learn": "learn/parameters/index.html",
    "figures": "learn/running-statistics/index.html",
    "formulas": "learn/gradients/index.html",
    "try": "playground/index.html",
    "judge": "judge/index.html",
    "kernels": "judge/kernels/index.html",
    "maintainers": "judge/maintainers/index.html",
    "teachers": "judge/teachers/index.html",
    "cuda": "judge/cuda/index.html",
    "wire": "wire/index.html",
    "vectors": "vectors/index.html",
    "scale": "scale/index.html",
    "files": "exit-codes-and-files/index.html",
    "results": "results/index.html",
    "diverges": "results/torch-1.0/index.html",
    "conforms": "results/torch.nn.BatchNorm1d/index.html",
    "expected": "results/torch-script/index.html",
    "accuracy": "results/accuracy/index.html",
    "ages": "results/ages/index.html",
    "finds": "bugs/found-by-the-kit/index.html",
    "porting": "porting/index.html",
    "guide": "porting/paddle/index.html",
    "spec": "spec/stats/index.html",
    "requirements": "spec/index.html",
    "dialects": "dialects/index.html",
    "bugs": "bugs/index.html",
    "not-tested": "bugs/not-tested/index.html",
    "catches": "kills/index.html",
    "gaps": "kills/gaps/index.html",
    "kills": "kills/grad/index.html",
    "mutants": "mutants/index.html",
    "generated": "mutants/generated/index.html",
    "others": "other-checks/index.html",
    "bounds": "bounds/index.html",
    "design": "design/index.html",
    "glossary": "glossary/index.html",
    "changes": "changelog/index.html",
    "reference": "reference/oracle/index.html",
    "modules": "reference/index.html",
}
AXE = (ROOT / ".nox/npm/node_modules/axe-core/axe.min.js").read_text("utf-8")
#: Colours that are on their way to others are no page's.
AT_REST = "document.getAnimations().every(({playState}) => playState !== 'running')"
#: Rules that a page breaks for a good reason, which stands here.
EXCUSED = {}


def pytest_sessionstart(session):
    if not PAGES:
        pytest.exit(f"There is no site in {SITE}: nox -s site-tests builds it first.", 2)
    if "BN1D_CHROMIUM" not in os.environ:
        pytest.exit("BN1D_CHROMIUM must name a Chromium: nox -s site-tests looks for one.", 2)
    if not hasattr(session.config, "workerinput"):  # once: in what starts pytest-xdist's workers
        shutil.rmtree(PICTURES, ignore_errors=True)


class Handler(SimpleHTTPRequestHandler):
    """Serves the site, says nothing, and remembers what was asked for, with its bytes."""

    served: ClassVar[dict[str, int]] = {}

    def log_message(self, *_):
        pass

    def send_header(self, keyword, value):
        if keyword == "Content-Length":
            self.served[self.path.lstrip("/")] = int(value)
        super().send_header(keyword, value)


@pytest.fixture
def served():
    """What the server has sent since the test began: bytes by path, as they are, uncompressed."""
    Handler.served.clear()
    return Handler.served


@pytest.fixture(scope="session")
def base():
    """The address of the site, on loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=SITE)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def chromium():
    with sync_playwright() as playwright:
        program = os.environ["BN1D_CHROMIUM"]
        browser = playwright.chromium.launch(
            executable_path=program,
            args=["--no-sandbox"],  # which root cannot have; it reads nothing but the site
        )
        yield browser
        browser.close()


class Reader:
    """A page of the browser, and what is wrong with what it was shown."""

    def __init__(self, browser, base, **options):
        self.context = browser.new_context(base_url=base, **options)
        self.page = self.context.new_page()
        self.wrong = []
        self.host = urlsplit(base).netloc
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.wrong.append(f"raised: {error}"))
        self.page.on("request", self._request)

    def _console(self, message):
        if message.type in {"error", "warning"}:
            self.wrong.append(f"console: {message.text}")

    def _request(self, request):
        address = urlsplit(request.url)
        if address.scheme not in {"data", "blob"} and address.netloc != self.host:
            self.wrong.append(f"asked {request.url}")

    def open(self, path):
        """Show a page of the site and wait until it has loaded; what was wrong is forgotten."""
        self.wrong.clear()
        self.page.goto(path, wait_until="load")
        return self.page

    def violations(self, only=(), without=()):
        """What axe finds on the page as it is: for each rule, some of the places."""
        self.page.wait_for_function(AT_REST)
        self.page.evaluate(AXE)
        rules = {rule: {"enabled": False} for rule in (*EXCUSED, *without)}
        chosen = {"runOnly": only} if only else {}
        options = {"resultTypes": ["violations"], "rules": rules, **chosen}
        found = self.page.evaluate("(options) => axe.run(document, options)", options)
        return {
            rule["id"]: [(node["target"], node["failureSummary"]) for node in rule["nodes"][:3]]
            for rule in found["violations"]
        }

    def picture(self, name):
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{name}.png")


@pytest.fixture(scope="session")
def reader_of(chromium, base):
    """Make a reader, or give the one that was made with the same options."""
    made = {}

    def reader(**options):
        key = repr(sorted(options.items()))
        if key not in made:
            made[key] = Reader(chromium, base, **options)
        return made[key]

    yield reader
    for each in made.values():
        each.context.close()
