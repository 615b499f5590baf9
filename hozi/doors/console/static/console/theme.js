// Before the page is drawn: light or dark, as the person chose (data-theme) or as the device says.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const choose = () => root.setAttribute("data-bs-theme", ["light", "dark"].includes(root.dataset.theme) ? root.dataset.theme : dark.matches ? "dark" : "light");
  choose();
  dark.addEventListener("change", choose);
})();
