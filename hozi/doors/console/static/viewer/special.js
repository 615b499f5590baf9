// What is no picture of ours: reports and waveforms in a frame, films by the browser, and why something is not shown.
import { failure, full } from "./frames.js";
import { make, say } from "./page.js";

const elements = (image) => make("p", {}, make("a", { href: `/objects/${image.pk}/`, target: "_blank", rel: "noopener" }, say("its elements")));

const words = (title, text, image) => [make("p", {}, make("strong", {}, title)), make("p", {}, text), elements(image)];

function parts(image) {
  if (image.page) return [make("iframe", { src: image.page, title: image.title, class: "v-read" })];
  if (image.video) return [make("video", { src: `/view/objects/${image.pk}/video/`, controls: true, playsinline: true, preload: "metadata", class: "v-film" })];
  if (image.apart) return words(image.title, say(image.kind === "damaged" ? "unknown failure" : "no picture of it"), image);
  const failed = failure(image);
  return words(say("cannot be shown"), failed.message || say(failed.status === 404 ? "gone" : "unknown failure"), image);
}

// Fills the middle of a pane for what is no picture, or for a picture that could not be had.
export function explain(pane) {
  const { image, middle } = pane;
  if (!image && pane.waits === undefined) {
    if (!middle.textContent) middle.replaceChildren(make("p", {}, say("choose a series")));
    middle.hidden = false;
    return;
  }
  const needed = image && (image.apart || image.video || (failure(image) && !full(image)));
  const key = needed ? `${image.pk}/${image.frame}/${failure(image)?.status ?? ""}` : "";
  if ((middle.dataset.key ?? "new") !== key) {
    middle.dataset.key = key;
    middle.replaceChildren(...(needed ? parts(image) : []));
    // A film that the browser cannot play says so, instead of nothing.
    middle.querySelector("video")?.addEventListener("error", () => middle.replaceChildren(...words(say("film cannot be shown"), say("no film"), image)));
  }
  middle.hidden = !needed;
  pane.element.classList.toggle("v-reads", Boolean(needed && (image.page || image.video)));
}
