// Keys, lists, copying: small, and every page works without it.
(() => {
  const typing = (element) => element.closest("input, textarea, select, [contenteditable]");
  const rows = () => [...document.querySelectorAll("[data-list] tbody tr[data-open]")];
  let going = 0;

  const select = (step) => {
    const all = rows();
    if (!all.length) return;
    const now = all.findIndex((row) => row.getAttribute("aria-selected") === "true");
    const next = Math.max(0, Math.min(all.length - 1, now + step));
    all.forEach((row, place) => row.setAttribute("aria-selected", String(place === next)));
    all[next].scrollIntoView({ block: "nearest" });
  };

  const open = () => {
    const row = rows().find((one) => one.getAttribute("aria-selected") === "true");
    if (row) location.assign(row.dataset.open);
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") document.querySelectorAll(".hz-me[open]").forEach((menu) => menu.removeAttribute("open"));
    if (typing(event.target) || document.querySelector("dialog[open]")) return;
    if (Date.now() - going < 1500) {
      going = 0;
      const link = document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); location.assign(link.href); }
      return;
    }
    if (event.key === "g") going = Date.now();
    else if (event.key === "/") {
      const search = document.querySelector("[data-search]");
      if (search) { event.preventDefault(); search.focus(); search.select(); }
    } else if (event.key === "?") document.getElementById("keys")?.showModal();
    else if (event.key === "j") select(1);
    else if (event.key === "k") select(-1);
    else if (event.key === "Enter" && !event.target.closest("a, button, summary")) open();
  });

  document.addEventListener("click", (event) => {
    document.querySelectorAll(".hz-me[open]").forEach((menu) => { if (!menu.contains(event.target)) menu.removeAttribute("open"); });
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      navigator.clipboard?.writeText(copy.dataset.copy).then(() => { copy.classList.add("btn-success"); setTimeout(() => copy.classList.remove("btn-success"), 1200); });
      return;
    }
    const print = event.target.closest("[data-print]");
    if (print) return window.print();
    const row = event.target.closest("[data-list] tbody tr[data-open]");
    if (row && !event.target.closest("a, button, input, label, summary") && !String(getSelection())) location.assign(row.dataset.open);
  });

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-sends]")) event.target.form.requestSubmit();
  });

  // What goes wrong on the way is said, never swallowed.
  const say = (text) => {
    const place = document.getElementById("messages");
    if (!place) return;
    const box = document.createElement("div");
    box.className = "alert alert-danger";
    box.textContent = text;
    place.replaceChildren(box);
  };
  document.addEventListener("htmx:sendError", () => say(document.body.dataset.unreachable || "The server does not answer. Nothing is lost; try again."));
  document.addEventListener("htmx:responseError", (event) => say(`${event.detail.xhr.status}: ` + (document.body.dataset.failed || "that did not work. Load the page again.")));
})();
