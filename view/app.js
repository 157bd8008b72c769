// What pages can do without it, and do faster with it: every link and form works as it is.
"use strict";

// Keys: j and k move through the rows of a table, or to the next and the previous exchange;
// / searches. None of them acts while somebody types.
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  const rows = [...document.querySelectorAll("[data-rows] a.row")];
  const go = step => {
    const at = rows.indexOf(document.activeElement);
    const to = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : at + step];
    if (to) {
      to.focus();
      return true;
    }
    const link = document.querySelector(step > 0 ? "a[rel=next]" : "a[rel=prev]");
    if (link) link.click();
    return Boolean(link);
  };
  const search = () => {
    const field = document.querySelector("input[type=search]");
    const link = document.querySelector("a[rel=up]");
    if (field) {
      field.focus();
      field.select();
    } else if (link) link.click();
    return Boolean(field || link);
  };
  const does = { j: () => go(1), k: () => go(-1), "/": search, u: () => {
    const link = document.querySelector("a[rel=up]");
    if (link) link.click();
    return Boolean(link);
  } }[event.key];
  if (does && does()) event.preventDefault();
});

// A click anywhere in a row opens it, unless text is being selected.
document.addEventListener("click", event => {
  const row = event.target.closest("[data-rows] tbody tr");
  if (!row || event.target.closest("a, button, input") || String(getSelection())) return;
  const link = row.querySelector("a.row");
  if (!link) return;
  if (event.ctrlKey || event.metaKey) open(link.href, "_blank", "noopener");
  else link.click();
});

// Copy buttons show where there is a clipboard.
for (const button of document.querySelectorAll("button[data-copies]")) {
  const from = document.getElementById(button.dataset.copies);
  if (!from || !navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const said = document.getElementById(button.getAttribute("aria-describedby"));
    try {
      await navigator.clipboard.writeText(from.value);
      said.textContent = "Copied.";
    } catch {
      from.focus();
      from.select();
      said.textContent = "Selected: the browser does not let this page copy.";
    }
  });
}
