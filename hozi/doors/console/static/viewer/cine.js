// A stack as a film: at the rate that the object recommends, as far as its pictures are here.
import * as frames from "./frames.js";
import { say, tell } from "./page.js";
import { rate } from "./stack.js";
import { plan } from "./stage.js";

const USUAL = 12;

function step(pane, now) {
  if (!pane.playing) return;
  const each = 1000 / pane.speed;
  if (now - pane.last >= each - 2) {
    const images = pane.stack.images;
    const to = (pane.index + 1) % images.length;
    if (frames.any(images[to])) {
      pane.last = now - pane.last > each * 4 ? now : pane.last + each;
      pane.direction = 1;
      pane.index = to;
      pane.moving = true;
      pane.paint();
      pane.played += 1;
    }
    tell("moved", pane);
  }
  requestAnimationFrame((then) => step(pane, then));
}

export function toggle(pane) {
  if (!pane?.image || pane.bare || pane.stack.images.length < 2) return;
  if (pane.playing) {
    stop(pane);
    return;
  }
  pane.speed ??= rate(pane.image) || USUAL;
  Object.assign(pane, { playing: true, last: performance.now(), played: 0 });
  pane.hint = `${say("plays at {rate}/s", { rate: Math.round(pane.speed) })}`;
  tell("cine", pane);
  plan();
  requestAnimationFrame((now) => step(pane, now));
}

export function stop(pane) {
  pane.playing = false;
  pane.hint = "";
  tell("cine", pane);
  pane.touch();
}

export function faster(pane, factor) {
  if (!pane?.stack) return;
  pane.speed = Math.min(Math.max((pane.speed ?? (rate(pane.image) || USUAL)) * factor, 1), 60);
  if (pane.playing) pane.hint = say("plays at {rate}/s", { rate: Math.round(pane.speed) });
  pane.soon();
}
