// Quick view begins: the picture that stands in the page goes into the first pane, then all the rest follows.
import { sampled } from "./decode.js";
import { begin } from "./tools.js";
import * as frames from "./frames.js";
import { link, measured, tryNow } from "./link.js";
import { find, on, say, told } from "./page.js";
import { arrange, put, stage } from "./stage.js";
import * as strip from "./strip.js";

// How fast the link is, by the picture that came with the page.
function weigh(picture) {
  const [entry] = performance.getEntriesByName(picture.src);
  if (entry?.encodedBodySize) measured(Math.max(entry.encodedBodySize, 4000), (entry.responseEnd - entry.requestStart) / 1000 || 0.001);
}

// Says what the link is like, when it is not as it should be.
function state() {
  const bar = find("#link");
  bar.hidden = !link.lost && !link.over;
  find("#link-text").textContent = link.over ? say("session over") : say("connection lost");
  find("#link-sign-in").hidden = !link.over;
  find("#link-again").hidden = false;
}

function away(picture) {
  picture.remove();
  find("#lossy")?.remove();
}

async function take() {
  const picture = find("#first");
  if (!picture) return;
  try {
    await picture.decode();
  } catch {
    away(picture);
    return;
  }
  weigh(picture);
  const pane = stage.panes[0];
  const once = () => {
    const image = pane.image;
    if (image && image.pk === told.begin.object && !frames.any(image) && !image.video) {
      const own = image.windows?.[0];
      const made = own ? { center: own[0], width: own[1], name: own[2], way: image.function ?? "" } : null;
      frames.hand(image, sampled(picture, picture.naturalWidth, picture.naturalHeight, frames.grey(image), { made }));
    }
    if (image) {
      pane.paint();
      away(picture);
    }
  };
  if (pane.stack) once();
  else on("put", (put) => put === pane && picture.isConnected && once());
}

document.documentElement.classList.add("v-ready");
arrange("1x1");
begin();
strip.fill();
on("link", state);
find("#link-again").addEventListener("click", tryNow);
const pictured = take();
if (told.begin.series) {
  put(stage.active, told.study, told.begin.series, told.begin).then(() => pictured);
}
stage.active.element.focus({ preventScroll: true });
