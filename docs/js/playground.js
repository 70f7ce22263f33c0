"use strict";

// The page "Try it": carries strings between the form and the Python that runs in the page.
// What is computed, and every sentence about it, is bn1d_conformance.playground's.
(() => {
  const find = (name) => document.getElementById(`playground-${name}`);
  const [status, button, form, history] = ["status", "start", "form", "history"].map(find);
  const home = document.getElementById("playground").dataset.pyodide;
  let steps = 0;

  const say = (text) => {
    status.textContent = text;
  };

  const make = (tag, text, attributes = {}) => {
    const element = document.createElement(tag);
    element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };

  // Pyodide waits for ever for a part of it that could not be fetched, and leaves an error unhandled.
  const failure = () =>
    new Promise((_, reject) => {
      addEventListener("unhandledrejection", ({ reason }) => reject(reason), { once: true });
      addEventListener("error", ({ error }) => reject(error), { once: true });
    });

  async function load() {
    if (typeof WebAssembly !== "object") throw new Error("this browser has no WebAssembly");
    const packed = await fetch(new URL("bn1d.zip", document.baseURI));
    if (!packed.ok) throw new Error(`bn1d.zip: ${packed.status}`);
    const base = new URL(home, document.baseURI);
    const { loadPyodide } = await import(new URL("pyodide.mjs", base).href);
    const python = await Promise.race([loadPyodide({ indexURL: base.href }), failure()]);
    python.unpackArchive(await packed.arrayBuffer(), "zip", { extractDir: "/bn1d" });
    python.runPython("import sys; sys.path.insert(0, '/bn1d')");
    return {
      ...JSON.parse(python.pyimport("bn1d_conformance.playground.examples").as_json()),
      playground: python.pyimport("bn1d_conformance.playground").Playground(),
    };
  }

  async function start() {
    button.disabled = true;
    say("Python is loading.");
    try {
      const { head, examples, playground } = await load();
      button.hidden = true;
      offer(examples);
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        ask(playground, head, event.submitter.value);
      });
      form.hidden = false;
      say("Python is ready: make a layer.");
      find("example").focus();
    } catch (error) {
      button.disabled = false;
      say(`Python could not be started (${error.message}); see the recorded runs below.`);
    }
  }

  /** The place of the example whose recorded run the address leads to; else the first. */
  function asked(examples) {
    const heading = document.getElementById(location.hash.slice(1))?.textContent ?? "";
    return Math.max(0, examples.findIndex(({ name }) => heading.startsWith(name)));
  }

  function offer(examples) {
    const select = find("example");
    select.replaceChildren(...examples.map(({ name }, i) => make("option", name, { value: i })));
    select.value = asked(examples);
    const fill = () => {
      for (const [name, text] of Object.entries(examples[select.value])) {
        const field = form.elements.namedItem(name);
        if (field && field.type === "checkbox") field.checked = text === field.value;
        else if (field) field.value = text;
      }
    };
    select.addEventListener("change", fill);
    addEventListener("hashchange", () => {
      select.value = asked(examples);
      fill();
    });
    fill();
  }

  function ask(playground, head, step) {
    const asked = { affine: "no", ...Object.fromEntries(new FormData(form)), step };
    const answer = JSON.parse(playground.answer(JSON.stringify(asked)));
    if (answer.error) {
      say(answer.error);
      return;
    }
    steps += 1;
    const title = `${steps}. ${answer.title}`;
    for (const earlier of history.children) earlier.open = false;
    history.prepend(shown(title, answer, head));
    say(`${title}: ${answer.said}`);
  }

  function shown(title, { said, tables }, head) {
    const details = make("details", "", { open: "" });
    details.append(make("summary", title), make("p", said));
    details.append(...tables.map(({ caption, rows }) => table(caption, head, rows)));
    return details;
  }

  function table(caption, head, rows) {
    const whole = make("table", "");
    whole.createCaption().textContent = caption;
    whole.createTHead().insertRow().append(...head.map((t) => make("th", t, { scope: "col" })));
    const body = whole.createTBody();
    for (const [name, ...values] of rows) {
      const cells = values.map((value) => make("td", value));
      body.insertRow().append(make("th", name, { scope: "row" }), ...cells);
    }
    return whole;
  }

  if (home) {
    button.hidden = false;
    button.addEventListener("click", start);
    say("Nothing is loaded before you start it.");
  } else {
    say("This copy of the site was built without Pyodide; see the recorded runs below.");
  }
})();
