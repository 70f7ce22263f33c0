"use strict";

// The index of the search is by far the largest file that the theme fetches, and it does so on every
// page. Here its request waits until somebody goes to the search, or comes from there.
(() => {
  const INDEX = /\/search\/search_index\.json$/;
  const COMES_FROM_THERE = /[?&][hq]=/; // words to highlight, or to search for

  const asked = new Promise((resolve) => {
    if (COMES_FROM_THERE.test(location.search)) resolve();
    document.addEventListener("focusin", ({ target }) => {
      if (target.matches("[data-md-component=search-query]")) resolve();
    });
  });

  window.XMLHttpRequest = class extends XMLHttpRequest {
    open(method, url, ...options) {
      this.waits = INDEX.test(url);
      super.open(method, url, ...options);
    }

    send(body) {
      if (this.waits) asked.then(() => super.send(body));
      else super.send(body);
    }
  };
})();
