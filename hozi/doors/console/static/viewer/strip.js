// The strip of series, of this study and of earlier ones: a small picture of each; a click puts it into the active pane.
import { find, make, on, say, told } from "./page.js";
import { activate, put, seen, stage } from "./stage.js";
import { openStudy } from "./stack.js";
import { date } from "./texts.js";

const strip = find("#strip");

function tile(study, series) {
  const name = [series.number != null ? `${series.number}.` : "", series.modality, series.description].filter(Boolean).join(" ");
  const button = make("button", { type: "button", class: "v-tile", "data-series": series.pk, title: name },
    make("img", { src: `/series/${series.pk}/picture/`, alt: "", width: 72, height: 72, loading: "lazy", decoding: "async", draggable: "false", fetchpriority: "low" }),
    make("span", { class: "v-tile-name" }, name || say("series")),
    make("span", { class: "v-tile-count" }, series.count === 1 ? say("1 object") : say("{count} objects", { count: series.count })));
  button.addEventListener("click", () => put(stage.active, study, series.pk));
  button.draggable = true;
  button.addEventListener("dragstart", (event) => event.dataTransfer.setData("application/x-hozi", JSON.stringify([study, series.pk])));
  return button;
}

function group(study) {
  return make("div", { class: "v-group", "data-study": study.study },
    make("h2", { class: "v-group-name" }, `${date(study.date)} ${study.description || ""}`.trim() || say("study")),
    ...study.series.map((one) => tile(study.study, one)));
}

export function fill() {
  strip.replaceChildren(group(told));
  mark();
}

// Puts the series of an earlier study into the strip.
export async function add(study) {
  if (find(`.v-group[data-study="${study}"]`, strip)) return;
  const opened = await openStudy(study);
  if (!find(`.v-group[data-study="${study}"]`, strip)) strip.append(group(opened));
  mark();
}

function mark() {
  const shown = new Map(seen().filter((pane) => pane.stack).map((pane) => [pane.stack.pk, pane]));
  for (const button of strip.querySelectorAll(".v-tile")) {
    const pane = shown.get(Number(button.dataset.series));
    button.classList.toggle("v-shown", Boolean(pane));
    if (pane === stage.active && pane) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}

// The series before or behind the one in the active pane.
export function next(step) {
  const tiles = [...strip.querySelectorAll(".v-tile")];
  const at = tiles.findIndex((one) => Number(one.dataset.series) === stage.active?.stack?.pk);
  const to = tiles[at + step];
  if (!to) return;
  to.click();
  to.scrollIntoView({ block: "nearest", inline: "nearest" });
}

export function dropped(pane) {
  pane.element.addEventListener("dragover", (event) => event.dataTransfer.types.includes("application/x-hozi") && event.preventDefault());
  pane.element.addEventListener("drop", (event) => {
    const data = event.dataTransfer.getData("application/x-hozi");
    if (!data) return;
    event.preventDefault();
    activate(pane);
    put(pane, ...JSON.parse(data));
  });
}

on("put", mark);
on("active", mark);
on("arranged", mark);
