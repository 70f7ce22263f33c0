"use strict";

// The page "Porting": shows for the two that are chosen what bn1d_conformance.porting says differs,
// and the code that converts. Whatever a file holds is put into the page as text.
(() => {
  const form = document.getElementById("porting-form");
  const answer = document.getElementById("porting-answer");
  const HEADS = ["What", "", "", "Do"];

  const make = (tag, text, attributes = {}) => {
    const element = document.createElement(tag);
    element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };

  function table({ names, rows }) {
    const whole = make("table", "", { class: "differences" });
    whole.createCaption().textContent = `From ${names[0]} to ${names[1]}`;
    const heads = [HEADS[0], ...names, HEADS[3]];
    whole.createTHead().insertRow().append(...heads.map((t) => make("th", t, { scope: "col" })));
    const body = whole.createTBody();
    for (const [what, ...values] of rows) {
      const cells = values.map((value) => make("td", value.replaceAll("`", "")));
      body.insertRow().append(make("th", what, { scope: "row" }), ...cells);
    }
    return whole;
  }

  function shown(pair) {
    if (!pair.rows.length) return [make("p", "No convention differs, and no name.")];
    const box = make("div", "", { class: "matrix-box", role: "region", tabindex: 0, "aria-label": "What differs" });
    box.append(table(pair));
    const code = make("pre", "", { tabindex: 0 });
    code.append(make("code", pair.program));
    const folded = make("details", "");
    folded.append(make("summary", "Python that converts"), code);
    return [box, folded];
  }

  async function show() {
    const { from, to } = Object.fromEntries(new FormData(form));
    history.replaceState(null, "", `#${new URLSearchParams({ from, to })}`);
    try {
      const response = await fetch(`${from}.json`);
      if (!response.ok) throw new Error(response.status);
      answer.replaceChildren(...shown((await response.json())[to]));
    } catch {
      answer.replaceChildren(make("p", "What differs could not be read; the pages below have it."));
    }
  }

  /** Choose what the address asks for, as in #from=keras&to=pytorch. */
  function choose() {
    const asked = new URLSearchParams(location.hash.slice(1));
    for (const [name, otherwise] of [["from", "pytorch"], ["to", "keras"]]) {
      const select = form.elements.namedItem(name);
      select.value = asked.get(name) ?? otherwise;
      if (select.selectedIndex < 0) select.value = otherwise;
    }
  }

  choose();
  form.hidden = false;
  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  show();
})();
