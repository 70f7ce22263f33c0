"""The page on porting: its form says of any two what `bn1d porting` says, by the keyboard too."""

import json

import pytest
from conftest import NARROW, SITE, WIDE

PAGE = "porting/index.html"


@pytest.fixture
def reader(reader_of):
    """Somebody who has opened the page, and whom nothing has gone wrong for in the end."""
    reader = reader_of(viewport=WIDE)
    reader.open(PAGE)
    yield reader
    assert not reader.wrong


def published(old, new):
    return json.loads((SITE / "porting" / f"{old}.json").read_text("utf-8"))[new]


def rows(page):
    return page.locator("#porting-answer tbody tr").evaluate_all(
        "rows => rows.map(({cells}) => [...cells].map(({textContent: t}) => t))"
    )


def answered(page, old, new):
    """Wait until the page is about two, and hold what it shows to what is published."""
    names = " to ".join(published(old, new)["names"])
    page.locator("#porting-answer caption", has_text=f"From {names}").wait_for()
    expected = [[s.replace("`", "") for s in row] for row in published(old, new)["rows"]]
    assert rows(page) == expected
    assert page.locator("#porting-answer code").text_content() == published(old, new)["program"]


def test_two_are_chosen(reader):
    answered(reader.page, "pytorch", "keras")
    reader.page.locator("[name=from]").select_option("flax")
    reader.page.locator("[name=to]").select_option("mxnet")
    answered(reader.page, "flax", "mxnet")
    assert not reader.violations()


def test_the_keyboard_is_enough(reader):
    reader.page.locator("[name=from]").focus()
    reader.page.keyboard.type("onnx")
    answered(reader.page, "onnx", "keras")
    reader.page.keyboard.press("Tab")
    reader.page.keyboard.type("pad")
    answered(reader.page, "onnx", "paddle")
    reader.page.keyboard.press("Tab")
    reader.page.keyboard.press("Tab")
    reader.page.keyboard.press("Enter")
    assert reader.page.locator("#porting-answer pre").is_visible()


def test_an_address_names_both(reader):
    reader.page.goto("about:blank")
    reader.page.goto(f"{PAGE}#from=mlx&to=pytorch")
    answered(reader.page, "mlx", "pytorch")


def test_of_the_same_nothing_differs(reader):
    reader.page.locator("[name=to]").select_option("pytorch")
    reader.page.get_by_text("No convention differs").wait_for()


def test_an_answer_fits_a_narrow_screen(reader):
    reader.page.set_viewport_size(NARROW)
    reader.page.locator("[name=to]").select_option("chainer")
    answered(reader.page, "pytorch", "chainer")
    reader.page.get_by_text("Python that converts").click()
    assert reader.page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    reader.page.set_viewport_size(WIDE)
