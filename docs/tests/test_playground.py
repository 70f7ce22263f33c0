"""The page to try it: the numbers that it shows are the oracle's."""

import pytest
from conftest import WIDE

from bn1d_conformance.playground import Playground
from bn1d_conformance.playground.examples import EXAMPLES

BUTTONS = {
    "new": "New layer",
    "train": "Training forward",
    "eval": "Evaluation forward",
    "backward": "Backward",
}
TABLES = """
document.querySelectorAll("#playground-history details:first-child table tbody").values().map(
  (body) => [...body.rows].map((row) => [...row.cells].map((cell) => cell.textContent))
).toArray()
"""


@pytest.fixture(scope="module")
def reader(reader_of):
    """Somebody who has started Python in the page."""
    reader = reader_of(viewport=WIDE, reduced_motion="reduce")
    page = reader.open("playground/")
    page.get_by_role("button", name="Start Python in this page").click()
    page.get_by_role("button", name="New layer").wait_for(timeout=120_000)
    return reader


def shown(reader, step):
    """The tables of a step, done in the page."""
    reader.page.get_by_role("button", name=BUTTONS[step], exact=True).click()
    return reader.page.evaluate(TABLES)


def expected(playground, form, step):
    return [table["rows"] for table in playground.step({**form, "step": step})["tables"]]


@pytest.mark.parametrize("place", range(len(EXAMPLES)))
def test_an_example_gives_what_the_oracle_gives(reader, place):
    reader.page.get_by_label("Example").select_option(index=place)
    playground = Playground()
    for step in ("new", "train", "backward", "train", "eval", "backward"):
        assert shown(reader, step) == expected(playground, EXAMPLES[place], step), step
    assert not reader.wrong


def test_what_is_typed_is_what_is_computed(reader):
    form = {**EXAMPLES[1], "features": "3", "weight": "1 2 3", "momentum": "None", "eps": "0.1"}
    form |= {"batch": "0.1, 2, -3\n7 1e3 0.5", "gradient": "1 0 0\n0 1 0"}
    reader.page.get_by_label("Example").select_option(index=1)
    for field in ("features", "weight", "momentum", "eps", "batch", "gradient"):
        reader.page.locator(f"[name={field}]").fill(form[field])
    playground = Playground()
    for step in ("new", "train", "backward", "eval"):
        assert shown(reader, step) == expected(playground, form, step), step


def test_a_mistake_is_told_and_changes_nothing(reader):
    reader.page.get_by_label("Example").select_option(index=0)
    shown(reader, "new")
    before = reader.page.evaluate(TABLES)
    reader.page.get_by_label("A sample a line").fill("<b>1</b>")
    assert shown(reader, "train") == before
    status = reader.page.get_by_role("status").inner_text()
    assert status == "line 1 of the batch has 1 numbers, and the layer 2 channels."


def test_what_happened_is_said_to_whoever_does_not_see_it(reader):
    reader.page.get_by_label("Example").select_option(index=0)
    shown(reader, "new")
    assert (
        "New layer: It starts with these numbers."
        in reader.page.get_by_role("status").inner_text()
    )


def test_axe_finds_nothing_in_what_was_computed(reader):
    reader.page.get_by_label("Example").select_option(index=0)
    for step in ("new", "train", "backward", "eval"):
        shown(reader, step)
    assert not reader.violations()
    reader.page.emulate_media(color_scheme="dark")
    assert not reader.violations()
    reader.page.emulate_media(color_scheme="light")


def test_the_keyboard_is_enough(reader):
    reader.page.get_by_label("Example").focus()
    seen = []
    for _ in range(14):
        seen.append(
            reader.page.evaluate("document.activeElement.name || document.activeElement.value")
        )
        reader.page.keyboard.press("Tab")
    assert seen[1:] == [
        "features", "momentum", "eps", "affine", "weight", "bias", "new",
        "batch", "train", "eval", "gradient", "backward", *seen[13:],
    ]  # fmt: skip


LOST = ["bn1d.zip", "pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip"]


@pytest.mark.parametrize("lost", ["WebAssembly", *LOST])
def test_where_python_cannot_run_the_page_says_so(chromium, base, lost):
    with chromium.new_context(base_url=base) as context:
        page = context.new_page()
        page.add_init_script(f"delete globalThis.{lost}" if lost == "WebAssembly" else "")
        page.route(f"**/{lost}", lambda route: route.abort())
        page.goto("playground/")
        page.get_by_role("button", name="Start Python in this page").click()
        told = page.get_by_role("status").get_by_text("Python could not be started")
        told.wait_for()
        assert told.inner_text().endswith("see the recorded runs below.")
        assert page.get_by_role("heading", name="Recorded runs").is_visible()


def test_without_javascript_there_are_recorded_runs(reader_of):
    page = reader_of(java_script_enabled=False).open("playground/")
    assert not page.get_by_role("button", name="Start Python in this page").is_visible()
    assert page.get_by_role("rowheader", name="y[0, 1]").first.is_visible()
