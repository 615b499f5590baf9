// The connection: what is asked for is asked for again until it comes; how fast it is; whether it is there at all.
import { tell } from "./page.js";

export const link = { lost: false, over: false, rate: 0, trip: 0 };

const WAITS = [400, 1000, 2000, 4000, 8000];
const STALLED = 20000;
const BUSY = new Set([429, 502, 503, 504]);

// What will not come, however often it is asked for; the text says why.
export class Failure extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

const woken = new Set();
const wake = () => {
  for (const up of woken) up();
  woken.clear();
};
addEventListener("online", wake);
addEventListener("focus", wake);
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && wake());
export const tryNow = wake;

// Waits so long, or until somebody has reason to believe that it works again.
const pause = (milliseconds, signal) =>
  new Promise((done, stop) => {
    const timer = setTimeout(done, milliseconds);
    const up = () => {
      clearTimeout(timer);
      done();
    };
    woken.add(up);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      woken.delete(up);
      stop(signal.reason);
    });
  });

function state(changes) {
  const before = `${link.lost} ${link.over}`;
  Object.assign(link, changes);
  if (`${link.lost} ${link.over}` !== before) tell("link", link);
}

export function measured(bytes, seconds) {
  if (bytes < 4000 || seconds <= 0) return;
  const rate = bytes / seconds;
  link.rate = link.rate ? link.rate * 0.6 + rate * 0.4 : rate;
}

// The bytes of an answer; a body from which nothing comes for a while counts as cut.
async function body(response, stop, came) {
  const pieces = [];
  let size = 0;
  let timer = setTimeout(stop, STALLED);
  try {
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      clearTimeout(timer);
      timer = setTimeout(stop, STALLED);
      pieces.push(value);
      size += value.length;
      came?.(size);
    }
  } finally {
    clearTimeout(timer);
  }
  const all = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

async function once(url, { signal, priority = "auto", came }) {
  const cut = new AbortController();
  const stop = () => cut.abort(signal?.reason);
  signal?.addEventListener("abort", stop);
  const waits = setTimeout(stop, STALLED * 1.5);
  try {
    const asked = performance.now();
    const response = await fetch(url, { signal: cut.signal, redirect: "manual", priority });
    clearTimeout(waits);
    const begun = performance.now();
    link.trip = link.trip ? Math.min(link.trip, begun - asked) : begun - asked;
    if (response.type === "opaqueredirect") return { over: true };
    if (BUSY.has(response.status)) return { busy: Number(response.headers.get("Retry-After")) || 2 };
    if (!response.ok) throw new Failure(response.status, response.status === 422 ? (await response.text()).slice(0, 300) : "");
    const bytes = await body(response, stop, came);
    measured(Number(response.headers.get("Content-Length")) || bytes.length, (performance.now() - asked - Math.min(link.trip, begun - asked)) / 1000);
    return { bytes, type: response.headers.get("Content-Type") ?? "" };
  } finally {
    clearTimeout(waits);
    signal?.removeEventListener("abort", stop);
  }
}

// The bytes at an address, and their type. Throws `Failure`, or what the signal was aborted with; nothing else.
export async function get(url, options = {}) {
  const { signal } = options;
  for (let failed = 0; ; ) {
    let wait;
    try {
      const answer = await once(url, options);
      if (answer.bytes) {
        state({ lost: false, over: false });
        return answer;
      }
      state({ lost: false, over: Boolean(answer.over) });
      wait = answer.over ? 15000 : answer.busy * 1000;
    } catch (error) {
      if (error instanceof Failure) {
        state({ lost: false, over: false });
        throw error;
      }
      if (signal?.aborted) throw error;
      wait = WAITS[Math.min(failed, WAITS.length - 1)];
      failed += 1;
      if (failed > 1) state({ lost: true });
    }
    await pause(wait, signal);
  }
}

export const getJson = async (url, options) => JSON.parse(new TextDecoder().decode((await get(url, options)).bytes));
