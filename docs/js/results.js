// The page of the results: sorts, filters and searches its matrix, and compares a file of the
// reader's own with the published ones. Whatever a file holds is put into the page as text.
"use strict";

(() => {
  const make = (tag, text = "", attributes = {}) => {
    const element = document.createElement(tag);
    element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };

  // The matrix

  const ORDERS = { ascending: "↑", descending: "↓", none: "↕" };

  /** What a cell is sorted by: its key where it has one, else its words. */
  function keyOf(row, column) {
    const { key } = row.cells[column].dataset;
    return key === undefined ? row.cells[column].textContent.trim() : Number(key);
  }

  function compared(a, b) {
    return typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
  }

  /** Sort the rows by a column: ascending at first, which is the worst first, then the other way. */
  function sort(table, column) {
    const heads = [...table.tHead.rows[0].cells];
    const up = heads[column].getAttribute("aria-sort") !== "ascending";
    heads.forEach((head, k) => {
      const order = k === column ? (up ? "ascending" : "descending") : "none";
      if (order === "none") head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", order);
      head.querySelector("button").textContent = ORDERS[order];
    });
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => (up ? 1 : -1) * compared(keyOf(a, column), keyOf(b, column)));
    table.tBodies[0].append(...rows);
  }

  function makeSortable(table) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const label = `Sort by ${head.textContent}`;
      const button = make("button", ORDERS.none, { type: "button", "aria-label": label });
      button.addEventListener("click", () => sort(table, column));
      head.append(" ", button);
    });
  }

  /** Whether a row has what is asked for; with an area, the verdict is that of the area. */
  function matches(row, { text, framework, area, verdict }) {
    const judged = area ? row.querySelector(`[data-area="${area}"]`) : row;
    const words = `${row.cells[0].textContent} ${row.dataset.framework} ${row.dataset.fails} `;
    return (
      (!framework || row.dataset.framework === framework) &&
      (!verdict || judged.dataset.tone === verdict) &&
      text.toLowerCase().split(/\s+/).every((word) => words.toLowerCase().includes(word))
    );
  }

  function filter(table, form) {
    const asked = Object.fromEntries(new FormData(form));
    const rows = [...table.tBodies[0].rows];
    for (const row of rows) row.hidden = !matches(row, asked);
    for (const cell of table.querySelectorAll("[data-area]")) {
      cell.hidden = asked.area !== "" && cell.dataset.area !== asked.area;
    }
    const count = rows.filter((row) => !row.hidden).length;
    form.querySelector("output").textContent = `${count} of ${rows.length} subjects`;
  }

  function makeFilterable(table, form) {
    form.hidden = false;
    form.addEventListener("input", () => filter(table, form));
    form.addEventListener("reset", () => setTimeout(() => filter(table, form)));
    form.addEventListener("submit", (event) => event.preventDefault());
    filter(table, form); // a browser may have kept what was chosen
  }

  // A file of the reader's own

  const MOST_BYTES = 2 ** 26; // of a file, as bn1d reads
  const MOST_REQUIREMENTS = 2000;
  const ID = /^[A-Z]+-[1-9][0-9]{0,3}$/;
  const VERDICTS = new Set([
    "pass", "fail", "deviates", "not-applicable", "not-run", "crash", "timeout", "error",
    "expected-fail", "unexpected-pass",
  ]);
  const TONES = { pass: "good", fail: "bad", crash: "bad", timeout: "bad" };

  class Refused extends Error {}

  function refuseUnless(holds, sentence) {
    if (!holds) throw new Refused(sentence);
  }

  const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

  /** The verdicts of a results file, by id. Throws Refused, with a sentence, for any other file. */
  function verdictsOf(text) {
    let file;
    try {
      file = JSON.parse(text);
    } catch {
      throw new Refused("The file is not JSON.");
    }
    refuseUnless(isObject(file) && file.schema_version === 1, "The file is no results file of version 1.");
    refuseUnless(file.verdict !== "no-result", "The file says that there is no result.");
    refuseUnless(isObject(file.requirements), "The file has no requirements.");
    const rows = Object.entries(file.requirements);
    refuseUnless(rows.length <= MOST_REQUIREMENTS, "The file has too many requirements.");
    for (const [id, row] of rows) {
      const right = ID.test(id) && isObject(row) && VERDICTS.has(row.verdict);
      refuseUnless(right, `The file has a requirement that is none: ${id.slice(0, 40)}`);
    }
    const name = isObject(file.subject) ? String(file.subject.name).slice(0, 200) : "";
    return { name, verdicts: new Map(rows.map(([id, row]) => [id, row.verdict])) };
  }

  /** The ids whose verdicts differ, of those that both have. */
  function differences(own, ids, subject) {
    return ids
      .map((id, k) => ({ id, own: own.verdicts.get(id), published: subject.verdicts[k] }))
      .filter((row) => row.own && row.published && row.own !== row.published);
  }

  function badge(verdict) {
    return make("span", verdict, { class: `verdict ${TONES[verdict] ?? "open"}` });
  }

  function differingRow({ id, own, published }) {
    const area = id.slice(0, id.lastIndexOf("-")).toLowerCase();
    const row = make("tr");
    const head = make("th", "", { scope: "row" });
    head.append(make("a", id, { href: `../spec/${area}/#${id.toLowerCase()}` }));
    row.append(head);
    for (const verdict of [own, published]) {
      const cell = make("td");
      cell.append(badge(verdict));
      row.append(cell);
    }
    return row;
  }

  function differingTable(rows, subject) {
    const table = make("table", "", { class: "differences" });
    table.append(make("caption", `Requirements on which yours and ${subject.name} differ`));
    const head = table.createTHead().insertRow();
    for (const title of ["Requirement", "Yours", subject.name]) {
      head.append(make("th", title, { scope: "col" }));
    }
    table.createTBody().append(...rows.map(differingRow));
    return table;
  }

  /** What stands under the file: how many verdicts are known, and where they differ from one's. */
  function shown(own, ids, subject) {
    const both = ids.filter((id, k) => own.verdicts.has(id) && subject.verdicts[k]).length;
    const rows = differences(own, ids, subject);
    const said = make("p", `${rows.length} of ${both} requirements that both have differ.`);
    return rows.length ? [said, differingTable(rows, subject)] : [said];
  }

  /** Let the reader choose among the published subjects, the most alike first. */
  function compare(own, published, answer) {
    const ids = published.requirements;
    const ranked = published.subjects
      .map((subject) => ({ subject, count: differences(own, ids, subject).length }))
      .sort((a, b) => a.count - b.count);
    const select = make("select", "", { name: "with" });
    ranked.forEach(({ subject, count }, k) => {
      select.append(make("option", `${subject.name} (${count} differ)`, { value: k }));
    });
    const label = make("label", "with ");
    label.append(select);
    const detail = make("div");
    const show = () => detail.replaceChildren(...shown(own, ids, ranked[select.value].subject));
    select.addEventListener("change", show);
    const line = make("p", `${own.name || "Your file"}: ${own.verdicts.size} requirements, compared `);
    line.append(label);
    answer.replaceChildren(line, detail);
    show();
  }

  async function read(file, answer) {
    try {
      refuseUnless(file.size <= MOST_BYTES, "The file has more than 64 MiB.");
      const own = verdictsOf(await file.text());
      const response = await fetch("published.json");
      refuseUnless(response.ok, "The published verdicts can't be read.");
      compare(own, await response.json(), answer);
    } catch (error) {
      const sentence = error instanceof Refused ? error.message : "The file can't be compared.";
      answer.replaceChildren(make("p", sentence, { class: "refused" }));
    }
  }

  function makeComparing(zone) {
    const input = zone.querySelector("input");
    const answer = zone.querySelector("#compare-answer");
    zone.hidden = false;
    input.addEventListener("click", () => (input.value = "")); // the same file again, changed since
    input.addEventListener("change", () => input.files.length && read(input.files[0], answer));
    for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
      zone.addEventListener(name, (event) => {
        event.preventDefault();
        zone.classList.toggle("over", name === "dragenter" || name === "dragover");
      });
    }
    zone.addEventListener("drop", ({ dataTransfer }) => {
      if (dataTransfer.files.length) read(dataTransfer.files[0], answer);
    });
  }

  const table = document.getElementById("matrix");
  if (table) {
    makeSortable(table);
    makeFilterable(table, document.getElementById("matrix-filter"));
    makeComparing(document.getElementById("compare"));
  }
})();
