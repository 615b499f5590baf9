// The pictures that are here, and those that are on their way: what is seen first, then what will be seen next.
import { decoded, pictured, same } from "./decode.js";
import { Failure, get, link } from "./link.js";
import { tell } from "./page.js";

const LIMIT = (navigator.deviceMemory ?? 4) >= 4 && Math.max(screen.width, screen.height) > 1000 ? 384e6 : 128e6;
const SOON = 0.5;
const FAST = 1.5e6;

const kept = new Map();
const running = new Map();
let bytes = 0;
let plan = [];

const named = (image) => `${image.pk}/${image.frame}`;

// Whether whole pictures come so fast that small ones before them are of no use.
export const fast = () => link.rate >= FAST && link.trip < 150;

const weight = (image) => image.rows * image.columns * ((image.samples ?? 1) > 1 ? 3 : (image.bits ?? 16) > 8 ? 2 : 1);
const quick = (image) => fast() || (link.rate > 0 && (weight(image) * 0.5) / link.rate < SOON);

export const entry = (image) => kept.get(named(image));
export const full = (image) => entry(image)?.full ?? null;
export const any = (image) => entry(image)?.full ?? entry(image)?.preview ?? null;
export const failure = (image) => entry(image)?.failed ?? null;

export function retry(image) {
  const found = entry(image);
  if (found) found.failed = null;
}

function put(image, kind, frame) {
  const key = named(image);
  const found = kept.get(key) ?? {};
  if (kind === "preview" && found.full) return found;
  kept.delete(key);
  kept.set(key, found);
  const before = found[kind]?.data?.byteLength ?? 0;
  found[kind] = frame;
  bytes += (frame.data?.byteLength ?? 0) - before;
  if (kind === "full" && found.preview) {
    bytes -= found.preview.data.byteLength;
    found.preview = null;
  }
  found.failed = null;
  spare(key);
  return found;
}

// Lets go of what was not looked at for the longest time, but of nothing that is to be seen.
function spare(fresh) {
  if (bytes <= LIMIT) return;
  const needed = new Set(plan.map((wish) => named(wish.image)));
  for (const [key, found] of kept) {
    if (bytes <= LIMIT) return;
    if (key === fresh || needed.has(key)) continue;
    bytes -= (found.full?.data?.byteLength ?? 0) + (found.preview?.data?.byteLength ?? 0);
    kept.delete(key);
  }
}

export const here = () => ({ bytes, limit: LIMIT, count: kept.size });

// Puts the picture that stands in the page among those that are here.
export const hand = (image, frame) => put(image, "preview", frame);

const address = (image, what) => `/view/objects/${image.pk}/${image.frame}/${what}/`;

async function load(wish, signal) {
  const { image, kind, priority } = wish;
  const options = { signal, priority: priority < 2 ? "high" : "low" };
  if (kind !== "full") {
    const { center, width } = wish.window ?? {};
    const query = wish.window?.chosen ? `&center=${center}&width=${width}` : "";
    const answer = await get(`${address(image, "picture")}?size=${wish.size}${query}`, options);
    return pictured(answer.bytes, answer.type, grey(image), { made: wish.window });
  }
  if (image.lut) {
    const query = wish.window?.chosen ? `?center=${wish.window.center}&width=${wish.window.width}` : "";
    const answer = await get(address(image, "picture") + query, options);
    const frame = await pictured(answer.bytes, answer.type, grey(image), {});
    return { ...frame, full: true, done: true, key: query };
  }
  const all = weight(image) + 24;
  const came = (size) => tell("progress", { image, part: size / all });
  const frame = decoded((await get(address(image, "values"), { ...options, came })).bytes);
  return image.over && frame.samples === 1 ? { ...frame, over: await over(image, options) } : frame;
}

// What lies over the picture, drawn by the server: whatever is the same whether all values are black or all are white.
async function over(image, options) {
  const both = await Promise.all([1e8, -1e8].map((center) => get(`${address(image, "picture")}?center=${center}&width=1`, options)));
  const [dark, bright] = await Promise.all(both.map(({ bytes, type }) => createImageBitmap(new Blob([bytes], { type }))));
  return same(dark, bright);
}

export const grey = (image) => (image.samples ?? 1) === 1 && image.photometric !== "PALETTE COLOR";

function start(wish) {
  const key = keyed(wish);
  const cut = new AbortController();
  running.set(key, { wish, cut });
  load(wish, cut.signal)
    .then((frame) => {
      put(wish.image, wish.kind === "better" ? "preview" : wish.kind, frame);
      tell("frame", wish.image);
    })
    .catch((error) => {
      if (cut.signal.aborted) return;
      const found = entry(wish.image) ?? {};
      found.failed = error instanceof Failure ? error : new Failure(0, "");
      kept.set(named(wish.image), found);
      tell("frame", wish.image);
    })
    .finally(() => {
      running.delete(key);
      pump();
    });
}

const missing = ({ image, kind, window, size }) => {
  const found = entry(image);
  if (found?.failed) return false;
  if (found?.full) return Boolean(kind === "full" && image.lut && stale(found.full, window));
  if (kind === "better") return !found?.preview || Math.max(found.preview.columns, found.preview.rows) < size * 0.9;
  return kind === "full" || !found?.preview;
};

const stale = (frame, window) => (frame.key ?? "") !== (window?.chosen ? `?center=${window.center}&width=${window.width}` : "");

const keyed = (wish) => `${wish.kind} ${named(wish.image)}`;

// On a slow link what is to be seen now goes alone: whatever comes beside it would make it later.
function pump() {
  const most = fast() ? 5 : 2;
  let urgent = [...running.values()].some(({ wish }) => wish.priority < 2);
  for (const wish of plan) {
    if (running.size >= most) return;
    if (running.has(keyed(wish)) || !missing(wish)) continue;
    if (!fast() && urgent && (wish.priority >= 2 || wish.kind === "full")) return;
    urgent ||= wish.priority < 2;
    start(wish);
  }
}

// What is wanted now, the most urgent first. What is on its way and not wanted any more is given up on a slow link.
export function want(wishes) {
  plan = wishes
    .filter((wish) => wish.kind === "full" || !quick(wish.image) || wish.image.lut)
    .sort((a, b) => a.priority - b.priority);
  const wanted = new Set(plan.map((wish) => keyed(wish)));
  const urgent = plan.some((wish) => wish.priority < 2 && missing(wish) && !running.has(keyed(wish)));
  for (const [key, { wish, cut }] of running) {
    if (!wanted.has(key) || (urgent && !fast() && wish.priority >= 2)) {
      cut.abort(new DOMException("not wanted any more", "AbortError"));
      running.delete(key);
    }
  }
  pump();
}
