/* The report's tables and pictures: sorting, filtering, evidence, enlarging; all of it by keyboard too. */
"use strict";

(() => {
  const one = (selector) => document.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];

  // --- theme ---------------------------------------------------------------------------------------------

  const theme = one("#theme");
  const dark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const showTheme = () => {
    theme.setAttribute("aria-pressed", String(dark()));
  };
  theme.addEventListener("click", () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    showTheme();
  });
  showTheme();

  // --- table of claims -----------------------------------------------------------------------------------

  const ledger = one("#ledger");
  if (ledger) {
    const body = ledger.tBodies[0], rows = [...body.rows];
    const headings = [...ledger.tHead.rows[0].cells];
    const value = (row, index) => row.cells[index].dataset.sort ?? row.cells[index].textContent.trim();
    const compare = new Intl.Collator("en", { numeric: true }).compare;

    headings.forEach((heading, index) => {
      heading.querySelector("button").addEventListener("click", () => {
        const down = heading.getAttribute("aria-sort") === "ascending";
        for (const other of headings) other.setAttribute("aria-sort", "none");
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        const sorted = [...rows].sort((a, b) => (down ? -1 : 1) * order(value(a, index), value(b, index)));
        body.append(...sorted);
      });
    });

    /** Numbers by size, also those with an exponent; everything else as words. */
    function order(a, b) {
      const [x, y] = [Number(a), Number(b)];
      return Number.isFinite(x) && Number.isFinite(y) && a !== "" && b !== "" ? x - y : compare(a, b);
    }

    const find = one("#filter"), verdict = one("#verdict"), room = one("#room"), shown = one("#shown");
    const filter = () => {
      const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        const kept = words.every((word) => text.includes(word)) &&
          (!verdict.value || row.dataset.verdict === verdict.value) &&
          (!room.value || row.dataset.room === room.value);
        row.hidden = !kept;
        count += kept;
      }
      shown.textContent = `${count} of ${rows.length} shown`;
    };
    find.addEventListener("input", filter);
    for (const choice of [verdict, room]) choice.addEventListener("change", filter);

    const expand = one("#expand");
    expand.addEventListener("click", () => {
      const open = expand.getAttribute("aria-pressed") !== "true";
      expand.setAttribute("aria-pressed", String(open));
      expand.textContent = open ? "Hide all evidence" : "Show all evidence";
      for (const row of rows) for (const part of row.querySelectorAll("details")) part.open = open;
    });
  }

  // --- figures, enlarged ---------------------------------------------------------------------------------

  const viewer = one("#viewer"), picture = one("#viewer-picture"), title = one("#viewer-title");
  const buttons = all(".zoom");
  let current = 0, scale = 1;

  const draw = () => {
    const small = buttons[current].querySelector("img");
    picture.src = small.src;
    picture.alt = small.alt;
    title.textContent = small.alt;
    const room = viewer.clientWidth - 40;
    picture.style.width = `${Math.round(Math.min(room, small.naturalWidth || room) * scale)}px`;
  };
  const act = {
    previous: () => { current = (current + buttons.length - 1) % buttons.length; scale = 1; },
    next: () => { current = (current + 1) % buttons.length; scale = 1; },
    in: () => { scale = Math.min(8, scale * 1.25); },
    out: () => { scale = Math.max(0.25, scale / 1.25); },
  };
  const perform = (name) => {
    if (name === "close") { viewer.close(); return; }
    act[name]();
    draw();
  };
  buttons.forEach((button, index) => {
    button.addEventListener("click", () => {
      [current, scale] = [index, 1];
      viewer.showModal();
      draw();
    });
  });
  viewer.addEventListener("click", (event) => {
    const name = event.target.closest("button")?.dataset.do;
    if (name) perform(name);
  });
  viewer.addEventListener("keydown", (event) => {
    const name = { ArrowLeft: "previous", ArrowRight: "next", "+": "in", "=": "in", "-": "out" }[event.key];
    if (name) {
      event.preventDefault();
      perform(name);
    }
  });
  viewer.addEventListener("close", () => buttons[current]?.focus());
})();
