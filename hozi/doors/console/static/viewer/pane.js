// One picture on the screen: which image, through which window, how large and turned, and what stands around it.
import * as frames from "./frames.js";
import { edges, tall } from "./geometry.js";
import { link } from "./link.js";
import { clamp, draw, make, say, tell } from "./page.js";
import { fitting, painted } from "./paint.js";
import { explain } from "./special.js";
import { how, technique, what, who } from "./texts.js";

const SETTLED = 220;
const MANY = 1.5e6;
const PREVIEWS = [256, 384, 512, 768];

export class Pane {
  constructor(number) {
    this.number = number;
    this.canvas = make("canvas", { class: "v-canvas", role: "img", "aria-label": say("no picture") });
    this.marks = draw("svg", { class: "v-marks", "aria-hidden": "true" });
    this.corners = ["tl", "tr", "bl", "br"].map((corner) => make("div", { class: `v-corner v-${corner}` }));
    this.letters = ["r", "b", "l", "t"].map((edge) => make("span", { class: `v-edge v-edge-${edge}`, "aria-hidden": "true" }));
    this.note = make("p", { class: "v-note", role: "status" });
    this.middle = make("div", { class: "v-middle", hidden: true });
    this.element = make("section", { class: "v-pane", tabindex: "0", "aria-label": say("picture {number}", { number: number + 1 }) },
      this.canvas, this.marks, ...this.corners, ...this.letters, this.note, this.middle);
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.back = new OffscreenCanvas(1, 1);
    this.stack = null;
    this.study = null;
    this.index = 0;
    this.direction = 1;
    this.moving = false;
    this.still = 0;
    this.reset(true);
    new ResizeObserver(() => this.soon()).observe(this.element);
  }

  get image() {
    return this.stack?.images[this.index] ?? null;
  }

  // Something that is no picture of ours stands here.
  get bare() {
    return Boolean(this.image?.apart || this.image?.video);
  }

  reset(quietly = false) {
    this.view = { zoom: 1, x: 0, y: 0, turns: 0, mirrored: false, invert: false, window: null };
    if (!quietly) this.soon();
  }

  show(study, stack, index = 0) {
    this.study = study;
    this.stack = stack;
    this.index = clamp(index, 0, Math.max(stack.images.length - 1, 0));
    this.shownImage = null;
    this.reset(true);
    this.moved();
  }

  go(index) {
    if (!this.stack?.images.length) return;
    const to = clamp(index, 0, this.stack.images.length - 1);
    if (to === this.index) return;
    this.direction = to > this.index ? 1 : -1;
    this.index = to;
    this.moved();
  }

  // Something was moved: only when it has been still for a moment, whole pictures are asked for on a slow link.
  moved() {
    this.touch();
    tell("moved", this);
  }

  touch() {
    this.moving = true;
    clearTimeout(this.still);
    this.still = setTimeout(() => {
      this.moving = false;
      this.soon();
      tell("settled", this);
    }, SETTLED);
    this.soon();
  }

  change(changes) {
    Object.assign(this.view, changes);
    this.touch();
    tell("changed", this);
  }

  // What this pane would like to have, with how urgent it is.
  wishes() {
    const images = this.stack?.images ?? [];
    const image = this.image;
    if (!image || this.bare) return [];
    const size = PREVIEWS.find((one) => one >= Math.min(this.element.clientWidth, this.element.clientHeight) * 0.8) ?? 768;
    const window = this.window(image);
    const wish = (one, kind, priority) => ({ image: one, kind, priority, size: link.rate && link.rate < 80000 ? Math.min(size, 384) : size, window: this.chosen() ?? window });
    const found = [wish(image, "preview", 0)];
    const large = Math.min(Math.max(image.rows, image.columns), Math.round(Math.max(this.element.clientWidth, this.element.clientHeight) * (devicePixelRatio || 1)), 1600);
    if (!this.moving && large > size * 1.7) found.push({ ...wish(image, "better", 1), size: large });
    if (!this.moving || frames.fast() || this.playing) found.push(wish(image, "full", 1.2));
    const ahead = this.playing ? images.length : frames.fast() ? 40 : 12;
    for (let step = 1; step <= ahead; step++) {
      for (const [at, farther] of [[this.index + step * this.direction, 0], [this.index - step * this.direction, 3]]) {
        const one = images[this.playing ? (at + images.length) % images.length : at];
        if (!one || one.apart || one.video || (farther && this.playing)) continue;
        found.push(wish(one, "preview", 2 + step + farther));
        if (!this.moving || frames.fast() || this.playing) found.push(wish(one, "full", 2 + step + farther + (frames.fast() ? 0 : 100)));
      }
    }
    return found;
  }

  chosen() {
    return this.view.window?.chosen ? this.view.window : null;
  }

  // The window of an image: the one that was chosen, else its own first one, else one in which its values have room.
  window(image = this.image) {
    if (!image || image.apart || image.video || !frames.grey(image)) return null;
    if (this.view.window) return this.view.window;
    const own = image.windows?.[0];
    if (own) return { center: own[0], width: own[1], name: own[2], way: image.function ?? "" };
    if (image.range) return { center: (image.range[0] + image.range[1] + 1) / 2, width: image.range[1] - image.range[0] + 1, name: "", way: "" };
    const frame = frames.full(image);
    if (!frame || frame.done) return null;
    frame.fits ??= fitting(frame, image);
    return frame.fits;
  }

  soon() {
    this.asked ??= requestAnimationFrame(() => {
      this.asked = null;
      this.paint();
    });
  }

  paint() {
    const ratio = devicePixelRatio || 1;
    const [width, height] = [Math.round(this.element.clientWidth * ratio), Math.round(this.element.clientHeight * ratio)];
    if (this.canvas.width !== width || this.canvas.height !== height) [this.canvas.width, this.canvas.height] = [width, height];
    this.context.setTransform(1, 0, 0, 1, 0, 0);
    this.context.fillStyle = "#000";
    this.context.fillRect(0, 0, width, height);
    const image = this.image;
    if (image && !this.bare) this.put(image);
    this.write();
    tell("painted", this);
  }

  put(image) {
    const frame = frames.any(image);
    this.frame = frame;
    if (!frame) return;
    const window = this.window(image);
    const step = this.moving && frame.data.length > MANY * 2 ? Math.ceil(Math.sqrt(frame.data.length / MANY)) : 1;
    const key = JSON.stringify([image.pk, image.frame, frame.full, frame.key, window, this.view.invert, step]);
    if (key !== this.painted) {
      const picture = painted(frame, image, window, this.view.invert, step);
      if (this.back.width !== picture.width || this.back.height !== picture.height) {
        [this.back.width, this.back.height] = [picture.width, picture.height];
      }
      this.back.getContext("2d").putImageData(picture, 0, 0);
      this.painted = key;
    }
    const matrix = new DOMMatrix().scale(devicePixelRatio || 1).multiply(this.matrix());
    this.context.setTransform(matrix);
    this.context.imageSmoothingEnabled = true;
    this.context.imageSmoothingQuality = this.moving ? "low" : "high";
    this.context.drawImage(this.back, 0, 0, image.columns, image.rows);
    if (frame.over && !this.view.bare) this.context.drawImage(frame.over, 0, 0, image.columns, image.rows);
  }

  // How large a pixel of the image is on the screen when all of it is to be seen.
  fit(image = this.image) {
    const high = image.rows * Math.max(tall(image), 1);
    const wide = image.columns * Math.max(1 / tall(image), 1);
    const [across, down] = this.view.turns % 2 ? [high, wide] : [wide, high];
    return Math.min(this.element.clientWidth / across, this.element.clientHeight / down);
  }

  // From the image's pixels to the pane's.
  matrix(image = this.image) {
    const { zoom, x, y, turns, mirrored } = this.view;
    const scale = this.fit(image) * zoom;
    const ratio = tall(image);
    return new DOMMatrix()
      .translate(this.element.clientWidth / 2 + x, this.element.clientHeight / 2 + y)
      .rotate(turns * 90)
      .scale(mirrored ? -1 : 1, 1)
      .scale(scale * Math.max(1 / ratio, 1), scale * Math.max(ratio, 1))
      .translate(-image.columns / 2, -image.rows / 2);
  }

  // From a place in the pane to one in the image.
  inside(x, y) {
    const point = this.matrix().inverse().transformPoint({ x, y });
    return [point.x, point.y];
  }

  outside([x, y]) {
    const point = this.matrix().transformPoint({ x, y });
    return [point.x, point.y];
  }

  // The value at a pixel, or its colours; null: not here, or only a small picture of it.
  sample(x, y) {
    const frame = frames.full(this.image);
    const [column, row] = [Math.floor(x), Math.floor(y)];
    if (!frame || frame.done || column < 0 || row < 0 || column >= frame.columns || row >= frame.rows) return null;
    const at = (row * frame.columns + column) * frame.samples;
    if (frame.samples > 1) return [...frame.data.subarray(at, at + 3)];
    const stored = frame.data[at];
    return frame.signed ? (frame.data instanceof Uint16Array ? (stored << 16) >> 16 : (stored << 24) >> 24) : stored;
  }

  zoomAt(factor, x, y) {
    if (!this.image || this.bare) return;
    const zoom = clamp(this.view.zoom * factor, 0.2, 40);
    const by = zoom / this.view.zoom;
    const [dx, dy] = [x - this.element.clientWidth / 2, y - this.element.clientHeight / 2];
    this.change({ zoom, x: dx - (dx - this.view.x) * by, y: dy - (dy - this.view.y) * by });
  }

  write() {
    const image = this.image;
    const lines = image
      ? [who(this.study), what(this.study, this.stack, image), how(this, image), technique(image)]
      : [this.study ? who(this.study) : [], [], [], []];
    lines.forEach((texts, corner) => {
      const text = texts.join("\n");
      if (this.corners[corner].textContent !== text) this.corners[corner].replaceChildren(...texts.map((line) => make("div", {}, line)));
    });
    const around = image && !this.bare ? edges(image, this.view) : null;
    this.letters.forEach((letter, edge) => {
      letter.textContent = around?.[edge] ?? "";
    });
    this.element.dataset.state = this.state(image);
    const part = this.part?.key === image?.pk + "/" + image?.frame && this.part.part < 1 ? ` · ${Math.round(this.part.part * 100)} %` : "";
    const notes = { lossy: say("lossy") + part, loading: say("loading") + part };
    const note = notes[this.element.dataset.state] ?? "";
    if (this.note.textContent !== note) this.note.textContent = note;
    this.canvas.setAttribute("aria-label", image ? lines.flat().filter(Boolean).join(", ") : say("no picture"));
    explain(this);
  }

  state(image) {
    if (!image) return "empty";
    if (this.bare) return "bare";
    if (frames.full(image)) return "whole";
    if (frames.failure(image)) return "failed";
    return frames.any(image) ? "lossy" : "loading";
  }
}
