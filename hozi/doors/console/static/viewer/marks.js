// Key images: marked with a key, then saved together as a key object selection.
import { Failure, link } from "./link.js";
import { find, on, say, tell, told } from "./page.js";
import { seen, stage } from "./stage.js";

const named = (image) => `${image.pk}.${image.frame}`;
const saved = new Set(told.keys.map(([pk, frame]) => `${pk}.${frame}`));
const fresh = new Set();
const form = find("#marked");

const may = (pane) => told.mark && pane?.image && !pane.image.apart && pane.study.study === told.study;

// What the corner says of each pane's image.
function mark() {
  for (const pane of seen()) {
    const name = pane.image ? named(pane.image) : "";
    pane.mark = fresh.has(name) ? "to be a key image" : saved.has(name) ? "key image" : "";
    pane.soon();
  }
  if (!form) return;
  form.hidden = !fresh.size;
  find("#marked-text").textContent = say("{count} marked", { count: fresh.size });
}

export function toggle() {
  const pane = stage.active;
  if (!may(pane)) return;
  const name = named(pane.image);
  if (!fresh.delete(name) && !saved.has(name)) fresh.add(name);
  mark();
}

export const isMarked = (image) => Boolean(image && (fresh.has(named(image)) || saved.has(named(image))));

// To the next image of the stack that is marked.
export function next(pane) {
  const images = pane?.stack?.images ?? [];
  for (let step = 1; step <= images.length; step++) {
    const at = (pane.index + step) % images.length;
    if (isMarked(images[at])) return pane.go(at);
  }
  return undefined;
}

async function save() {
  const body = new FormData();
  body.set("title", find("#marked-title").value);
  body.set("images", [...fresh].join(" "));
  const answer = await fetch(told.mark, { method: "POST", body, headers: { "X-CSRFToken": told.csrf }, redirect: "manual" });
  if (answer.type === "opaqueredirect") {
    link.over = true;
    tell("link", link);
    throw new Failure(0, "");
  }
  if (!answer.ok) throw new Failure(answer.status, answer.status === 422 ? await answer.text() : "");
  for (const [pk, frame] of (await answer.json()).keys) saved.add(`${pk}.${frame}`);
  fresh.clear();
}

function announce(text) {
  const said = find("#said");
  said.textContent = text;
  setTimeout(() => {
    said.textContent = "";
  }, 6000);
}

export function begin() {
  for (const type of ["moved", "put", "arranged"]) on(type, mark);
  if (!form) return;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    save().then(() => announce(say("marks saved")), (error) => announce(error.message || say("marks not saved"))).finally(mark);
  });
  find("#marked-drop").addEventListener("click", () => {
    fresh.clear();
    mark();
  });
  addEventListener("beforeunload", (event) => fresh.size && event.preventDefault());
}
