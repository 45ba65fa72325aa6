// Draws the charts of a page, and what a reader does with them. Without it, the pages show the same charts as images.
"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const source = document.getElementById("charts");
  const specs = source ? JSON.parse(source.textContent) : {};
  const views = {};
  const chosen = {};

  // The comparison draws only what a chosen workload has.
  const held = Object.fromEntries(Object.entries(specs).map(([name, spec]) => [name, new Set(spec.usermeta?.series)]));

  async function draw(name) {
    const place = document.getElementById(`chart-${name}`);
    const names = chosen[name]?.chosen;
    const empty = names && !names.some((each) => held[name].has(each));
    place.closest(".chart").classList.toggle("empty", Boolean(empty));
    if (empty) return;
    const spec = structuredClone(specs[name]);
    for (const param of spec.params || []) if (chosen[name]?.[param.name]) param.value = chosen[name][param.name];
    spec.width = "container";
    spec.autosize = { type: "fit", contains: "padding" };
    spec.height = place.clientHeight;
    const config = CONFIGS[dark.matches ? "dark" : "light"];
    try {
      views[name]?.finalize();
      const drawn = await vegaEmbed(place, spec, { actions: false, renderer: "svg", config, tooltip: { theme: dark.matches ? "dark" : "light" } });
      views[name] = drawn.view;
      place.querySelector("svg").setAttribute("aria-hidden", "true"); // its place has the words
      place.closest(".chart").classList.add("drawn");
    } catch (error) {
      place.closest(".chart").classList.add("failed");
      console.error(name, error);
    }
  }

  function set(name, param, value) {
    const was = chosen[name];
    chosen[name] = { ...was, [param]: value };
    if (param === "chosen" && was) draw(name);
    else views[name]?.signal(param, value).runAsync();
  }

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      draw(entry.target.id.slice("chart-".length));
    }
  }, { rootMargin: "400px" });
  for (const name of Object.keys(specs)) seen.observe(document.getElementById(`chart-${name}`));
  dark.addEventListener("change", () => Object.keys(views).forEach(draw));

  for (const select of document.querySelectorAll("select[data-chart]")) {
    select.addEventListener("change", () => set(select.dataset.chart, select.dataset.param, select.value));
  }

  // The comparison: the address names the workloads that are chosen.
  const choose = document.querySelector(".choose");
  if (choose) {
    const boxes = [...choose.querySelectorAll("input")];
    const named = new URLSearchParams(location.hash.slice(1)).getAll("w");
    if (named.length) for (const box of boxes) box.checked = named.includes(box.value);
    const apply = () => {
      const names = boxes.filter((box) => box.checked).map((box) => box.value);
      for (const name of Object.keys(specs)) set(name, "chosen", names);
      for (const cell of document.querySelectorAll("[data-workload]")) cell.hidden = !names.includes(cell.dataset.workload);
      for (const row of document.querySelectorAll(".compared tbody tr")) row.hidden = ![...row.querySelectorAll("td:not([hidden])")].some((cell) => cell.textContent !== "–");
      return names;
    };
    choose.addEventListener("change", () => {
      history.replaceState(null, "", `#${new URLSearchParams(apply().map((name) => ["w", name]))}`);
    });
    apply();
  }

  // Tables that sort by a column.
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent.trim() : cell.dataset.value === "" ? -Infinity : Number(cell.dataset.value);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    for (const [column, head] of [...table.tHead.rows[0].cells].entries()) {
      if (head.hasAttribute("data-plain")) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending" : head.classList.contains("number");
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows];
        rows.sort((a, b) => {
          const [x, y] = [value(a, column), value(b, column)];
          return (typeof x === "string" ? x.localeCompare(y) : x - y || 0) * (down ? -1 : 1);
        });
        table.tBodies[0].append(...rows);
      });
    }
  }

  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.addEventListener("click", async () => {
      const text = document.getElementById(button.dataset.copy);
      const status = button.nextElementSibling;
      try {
        await navigator.clipboard.writeText(text.textContent);
        status.textContent = "Copied.";
      } catch {
        getSelection().selectAllChildren(text);
        status.textContent = "Selected: copy it with the keyboard.";
      }
    });
  }
})();
