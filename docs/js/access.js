"use strict";

// What the theme's own script leaves out: a region that scrolls can be reached by the keyboard, and
// the button beside a piece of code is no landmark of the page.
(() => {
  const mend = () => {
    for (const region of document.querySelectorAll(".md-typeset__scrollwrap")) {
      if (region.scrollWidth > region.clientWidth) region.tabIndex = 0;
      else region.removeAttribute("tabindex");
    }
    for (const nav of document.querySelectorAll(".md-code__nav")) nav.setAttribute("role", "none");
  };
  const content = document.querySelector("main");
  new MutationObserver(mend).observe(content, { childList: true, subtree: true });
  new ResizeObserver(mend).observe(content);
})();
