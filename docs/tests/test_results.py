"""The page of the results: its matrix sorts, filters and leads on, and compares a file."""

import json
import re
from itertools import pairwise

import pytest
from conftest import NARROW, PAGES, PAPER, ROOT, SITE, WIDE

PAGE = "results/index.html"
HEADS = 17  # columns: the subject, the verdict, the areas, the grade
FILE = ROOT / "conformance" / "results" / "torch-1.4.json"
IDS = re.compile(r'\bid="?([^"\s>]+)')
#: What a row is sorted by in a column: a number where it has one, else its words.
COLUMN = """(column) => [...document.querySelectorAll("#matrix tbody tr")].map(({cells}) => {
  const {key} = cells[column].dataset;
  return key === undefined ? cells[column].textContent.trim() : Number(key);
})"""
SHOWN = """() => [...document.querySelectorAll("#matrix tbody tr")].filter((row) => !row.hidden)
  .map((row) => ({...row.dataset, name: row.cells[0].querySelector("a").textContent,
    tones: Object.fromEntries([...row.querySelectorAll("td[data-area]")]
      .filter((cell) => !cell.hidden).map((cell) => [cell.dataset.area, cell.dataset.tone]))}))"""
ON = "document.activeElement.getAttribute('aria-label') || document.activeElement.name"


@pytest.fixture
def page(reader_of):
    """The page, as it is when it has been opened."""
    reader = reader_of(viewport=WIDE)
    yield reader.open(PAGE)
    assert not reader.wrong


def rows(page):
    return page.evaluate(SHOWN)


def order(page, column):
    return page.locator("#matrix thead th").nth(column).get_attribute("aria-sort")


def same(values):
    """A column as it was: what is missing from a sort, or twice there."""
    return sorted(map(str, values))


# Sorting


@pytest.mark.parametrize("column", range(HEADS))
def test_a_click_sorts_by_a_column_and_another_the_other_way(page, column):
    assert page.locator("#matrix thead th").count() == HEADS
    before = page.evaluate(COLUMN, column)
    button = page.locator("#matrix thead th").nth(column).get_by_role("button")
    button.click()
    up = page.evaluate(COLUMN, column)
    assert order(page, column) == "ascending"
    assert page.locator("#matrix thead [aria-sort]").count() == 1
    assert same(up) == same(before)
    if isinstance(up[0], str):
        up = [[int(w) if w.isdigit() else w for w in re.split(r"(\d+)", t.lower())] for t in up]
        ranked = [[w for w in row if w not in ("", *"-._ ")] for row in up]
        assert ranked[0] == min(ranked)
        assert ranked[-1] == max(ranked)
    else:
        assert all(a <= b for a, b in pairwise(up))
    button.click()
    assert order(page, column) == "descending"
    down = page.evaluate(COLUMN, column)
    assert down != up
    assert all(isinstance(a, str) or a >= b for a, b in pairwise(down))


def test_versions_are_sorted_as_numbers(page):
    page.get_by_role("button", name="Sort by Subject").click()
    names = [row["name"] for row in rows(page)]
    assert names.index("torch-1.4") < names.index("torch-1.8") < names.index("torch-1.12")


def test_the_keyboard_alone_sorts_and_filters(page):
    reached = []
    while "Sort by Verdict" not in reached:
        page.keyboard.press("Tab")
        reached.append(page.evaluate(ON))
        assert len(reached) < 400
    page.keyboard.press("Enter")
    assert order(page, 1) == "ascending"
    page.keyboard.press("Space")
    assert order(page, 1) == "descending"
    assert page.evaluate(ON) == "Sort by Verdict"
    filters = [name for name in reached if name in ("text", "framework", "area", "verdict")]
    assert filters == ["text", "framework", "area", "verdict"]
    while page.evaluate(ON) != "framework":
        page.keyboard.press("Shift+Tab")
    page.keyboard.type("Paddle")
    assert {row["framework"] for row in rows(page)} == {"Paddle"}


# Filtering


def choose(page, **fields):
    form = page.locator("#matrix-filter")
    for name, value in fields.items():
        field = form.locator(f"[name={name}]")
        field.fill(value) if name == "text" else field.select_option(value)
    shown = rows(page)
    count = page.locator("#matrix tbody tr").count()
    assert form.locator("output").inner_text() == f"{len(shown)} of {count} subjects"
    return shown


def test_a_framework_is_chosen(page):
    every = rows(page)
    wanted = {row["name"] for row in every if row["framework"] == "PyTorch"}
    assert 5 < len(wanted) < len(every)
    assert {row["name"] for row in choose(page, framework="PyTorch")} == wanted


@pytest.mark.parametrize("verdict", ["good", "bad"])
def test_a_verdict_is_chosen(page, verdict):
    wanted = {row["name"] for row in rows(page) if row["tone"] == verdict}
    assert wanted
    assert {row["name"] for row in choose(page, verdict=verdict)} == wanted


def test_an_area_is_chosen_and_the_verdict_is_then_of_it(page):
    every = rows(page)
    assert {*choose(page, area="NUM")[0]["tones"]} == {"NUM"}
    assert page.locator("#matrix thead th:visible").count() == 4
    wanted = {row["name"] for row in every if row["tones"]["NUM"] == "bad"}
    assert wanted
    assert wanted != {row["name"] for row in every if row["tone"] == "bad"}
    assert {row["name"] for row in choose(page, verdict="bad")} == wanted


def test_words_are_searched_for_and_all_of_them_must_be_there(page):
    failing = {row["name"] for row in rows(page) if "STATS-2" in row["fails"].split()}
    assert failing
    assert failing <= {row["name"] for row in choose(page, text="stats-2")}
    assert {row["name"] for row in choose(page, text="torch 1.12")} == {"torch-1.12"}
    assert not choose(page, text="no such subject")


def test_all_are_shown_again(page):
    every = rows(page)
    choose(page, text="torch", framework="PyTorch", area="NUM", verdict="good")
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function("document.querySelector('#matrix-filter [name=text]').value === ''")
    page.wait_for_function("!document.querySelector('#matrix tr[hidden]')")
    assert rows(page) == every


# Evidence


def test_every_cell_leads_to_an_anchor_that_exists(page):
    links = page.eval_on_selector_all("#matrix a", "links => links.map(({href}) => href)")
    assert len(links) > 500
    anchors = {}
    for link in set(links):
        path, _, anchor = link.split("/", 3)[3].partition("#")
        assert f"{path}index.html" in PAGES, link
        if path not in anchors:
            anchors[path] = set(IDS.findall((SITE / path / "index.html").read_text("utf-8")))
        assert not anchor or anchor in anchors[path], link


def test_every_area_that_was_judged_has_a_link(page):
    unlinked = page.locator("#matrix td[data-area]:not(:has(a))")
    assert {*unlinked.evaluate_all("cells => cells.map((c) => c.dataset.tone)")} <= {"none"}


def test_a_sign_stands_beside_every_colour(page):
    shown = page.eval_on_selector_all(
        "#matrix .verdict", "s => s.map((v) => [v.className, v.textContent.trim()[0]])"
    )
    signs = {}
    for tone, sign in shown:
        signs.setdefault(tone, set()).add(sign)
    assert len(signs) >= 3
    assert all(len(of) == 1 for of in signs.values())
    assert len(set.union(*signs.values())) == len(signs)


def test_without_javascript_it_is_a_table(reader_of):
    reader = reader_of(viewport=WIDE, java_script_enabled=False)
    page = reader.open(PAGE)
    assert page.locator("#matrix thead th[scope=col]").count() == HEADS
    files = {file.stem for file in FILE.parent.glob("*.json")}
    assert {*page.locator("#matrix tbody th[scope=row] > a").all_inner_texts()} == files
    assert page.locator("#matrix tbody tr").first.is_visible()
    for control in ("#matrix-filter", "#compare", "#matrix button"):
        assert not page.locator(control).first.is_visible()
    assert not reader.wrong


# On paper


def test_paper_has_the_tables_whole_and_nothing_for_hands(page):
    page.emulate_media(media="print")
    page.set_viewport_size(PAPER)
    try:
        for control in ("#matrix-filter", "#compare", "#matrix button", "header", ".md-sidebar"):
            assert not page.locator(control).first.is_visible(), control
        for table in page.locator("main table:visible").all():
            assert table.evaluate("(table) => table.getBoundingClientRect().right") <= 794
            assert table.evaluate("({parentElement: p}) => p.scrollWidth - p.clientWidth") <= 0
    finally:
        page.emulate_media(media="screen")
        page.set_viewport_size(WIDE)


# A file of one's own


@pytest.fixture
def asked(page):
    """The requests since the page was opened and whole."""
    page.wait_for_load_state("networkidle")
    requests = []

    def ask(request):
        requests.append(request)

    page.on("request", ask)
    yield requests
    page.remove_listener("request", ask)


def given(page, content, name="mine.json"):
    """Choose a file, and return what the page answers."""
    file = {"name": name, "mimeType": "application/json", "buffer": content}
    page.locator("#compare-file").set_input_files(file)
    return answered(page)


def answered(page):
    answer = page.locator("#compare-answer")
    answer.locator("p").first.wait_for()
    return answer


def test_a_file_is_compared_and_goes_nowhere(page, asked):
    answer = given(page, FILE.read_bytes())
    options = answer.get_by_role("combobox").locator("option").all_inner_texts()
    assert "torch-1.4 (0 differ)" in options
    assert options[0].endswith(" (0 differ)")
    assert len(options) > 40
    assert "0 of " in answer.inner_text()
    name = next(o for o in options if o.startswith("torch.nn.BatchNorm1d "))
    answer.get_by_role("combobox").select_option(name)
    ours, theirs = (
        json.loads(FILE.with_name(f"{stem}.json").read_text("utf-8"))["requirements"]
        for stem in ("torch-1.4", "torch.nn.BatchNorm1d")
    )
    both = ours.keys() & theirs.keys()
    differ = {i for i in both if ours[i]["verdict"] != theirs[i]["verdict"]}
    assert differ
    shown = answer.locator("table.differences tbody tr")
    assert {*shown.locator("th").all_inner_texts()} == differ
    for href in shown.locator("a").evaluate_all("links => links.map(({pathname}) => pathname)"):
        assert f"{href.lstrip('/')}index.html" in PAGES
    published = [(r.method, r.url.rpartition("/")[2], r.post_data) for r in asked]
    assert published == [("GET", "published.json", None)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_a_comparison(reader_of, scheme):
    reader = reader_of(viewport=WIDE, color_scheme=scheme)
    answer = given(reader.open(PAGE), FILE.read_bytes())
    answer.get_by_role("combobox").select_option(index=30)
    answer.locator("table.differences").wait_for()
    assert not reader.violations()


def test_a_file_is_dropped(page, asked):
    page.evaluate(
        """(text) => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([text], "mine.json"));
          const zone = document.getElementById("compare");
          for (const name of ["dragenter", "dragover", "drop"]) {
            zone.dispatchEvent(new DragEvent(name, {dataTransfer, cancelable: true}));
          }
        }""",
        FILE.read_text("utf-8"),
    )
    assert "torch-1.4 (0 differ)" in answered(page).inner_text()
    assert len(asked) == 1


def changed(**fields):
    return json.dumps({**json.loads(FILE.read_text("utf-8")), **fields}).encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "The file is not JSON."),
        (b"\x89PNG\r\n\x00", "The file is not JSON."),
        (b"[" * 100_000, "The file is not JSON."),
        (b"[]", "no results file of version 1."),
        (b'{"schema_version": 2}', "no results file of version 1."),
        (changed(verdict="no-result"), "The file says that there is no result."),
        (changed(requirements=[]), "The file has no requirements."),
        (changed(requirements={"<img src=x>": {"verdict": "pass"}}), "that is none: <img src=x>"),
        (changed(requirements={"STATS-1": {"verdict": "<b>"}}), "that is none: STATS-1"),
        (changed(requirements={"STATS-1": None}), "that is none: STATS-1"),
        (changed(requirements={f"A-{k}": {} for k in range(1, 3000)}), "too many requirements"),
    ],
    ids=range(11),
)
def test_what_is_no_results_file_is_refused_in_a_sentence(page, asked, content, said):
    assert said in given(page, content).inner_text()
    assert not page.locator("#compare-answer :is(img, b, table)").count()
    assert not asked


def test_a_file_that_is_too_large_is_not_read(page, asked):
    page.evaluate(
        """() => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([new Uint8Array(2 ** 26 + 1)], "mine.json"));
          document.getElementById("compare").dispatchEvent(new DragEvent("drop", {dataTransfer}));
        }"""
    )
    assert answered(page).inner_text() == "The file has more than 64 MiB."
    assert not asked


SCRIPT = "</option></select><script>window.hurt = 1</script><img src=x onerror='window.hurt = 1'>"


def test_strings_of_a_file_are_shown_and_do_nothing(page):
    given(page, changed(subject={"name": SCRIPT}))
    assert SCRIPT in page.locator("#compare-answer").inner_text()
    assert not page.locator("#compare-answer :is(img, script)").count()
    assert page.evaluate("window.hurt") is None


def test_a_huge_message_is_read_and_not_shown(page):
    page.evaluate(
        """(file) => {
          file.requirements["STATS-2"].failures = [{message: "<b>".repeat(3_400_000)}];
          file.subject.name = "y".repeat(10_000_000);
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([JSON.stringify(file)], "mine.json"));
          document.getElementById("compare").dispatchEvent(new DragEvent("drop", {dataTransfer}));
        }""",
        json.loads(FILE.read_text("utf-8")),
    )
    answer = page.locator("#compare-answer")
    answer.get_by_role("combobox").wait_for()
    assert 200 < len(answer.inner_text()) < 10_000


def test_what_is_compared_fits_a_narrow_screen(page):
    page.set_viewport_size(NARROW)
    answer = given(page, changed(subject={"name": "x" * 300}))
    answer.get_by_role("combobox").select_option(index=30)
    answer.locator("table").wait_for()
    choose(page, area="CONC", text="torch")
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    page.set_viewport_size(WIDE)
