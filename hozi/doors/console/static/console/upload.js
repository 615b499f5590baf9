// Files go to the archive piece by piece; what came stays there, so that a broken link costs what was on its way.
const told = JSON.parse(document.getElementById("upload-told").textContent);
const say = told.texts;
const place = (id) => document.getElementById(id);
const form = place("upload");
const token = form.querySelector("[name=csrfmiddlewaretoken]").value;

const AT_ONCE = 3;
const SLICE = 16 << 20;
const ASKED = 200;
const ROWS = 500;
const LONGEST_PAUSE = 30000;
const NO_IMAGE = /\.(exe|dll|inf|ini|js|jar|class|css|html?|xml|txt|pdf|jpe?g|png|gif|bmp|ico|svg|mp3|mp4|avi|db|lnk|md|log|csv|json|docx?|xlsx?|sys|bat|cmd|sh|chm|hlp|msi|cab|swf)$/i;
const LEFT_OUT = /^(\.|__MACOSX$|Thumbs\.db$|desktop\.ini$|autorun\.inf$)/i;

const jobs = [];
const queue = [];
const known = new Set();
const sending = new Set();
const studies = new Set();
let paused = false;
let pauseBefore = 1000;
let held = null;
let speed = 0;
let measured = { at: 0, bytes: 0 };
let asking = 0;

const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const size = (bytes) => {
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (bytes < 1000 || unit === "GB") return `${bytes < 10 && unit !== "B" ? bytes.toFixed(1) : Math.round(bytes)} ${unit}`;
    bytes /= 1000;
  }
};
const span = (seconds) => (seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 360) / 10} h`);

// A file's key: of its path, length and date, and of who sends it. No name leaves this computer.
const keyOf = (text) => {
  let [a, b, c, d] = [1779033703, 3144134277, 1013904242, 2773480762];
  for (let i = 0; i < text.length; i++) {
    const k = text.charCodeAt(i);
    a = b ^ Math.imul(a ^ k, 597399067);
    b = c ^ Math.imul(b ^ k, 2869860233);
    c = d ^ Math.imul(c ^ k, 951274213);
    d = a ^ Math.imul(d ^ k, 2716044179);
  }
  const mixed = [Math.imul(c ^ (a >>> 18), 597399067), Math.imul(d ^ (b >>> 22), 2869860233), Math.imul(a ^ (c >>> 17), 951274213), Math.imul(b ^ (d >>> 19), 2716044179)];
  return mixed.map((one) => (one >>> 0).toString(16).padStart(8, "0")).join("");
};

// What was chosen ---------------------------------------------------------------------------------------

const entriesOf = (reader) => new Promise((well, ill) => reader.readEntries(well, ill));
const fileOf = (entry) => new Promise((well, ill) => entry.file(well, ill));

async function walk(entry, found) {
  if (LEFT_OUT.test(entry.name)) return;
  if (entry.isFile) {
    try { found.push({ file: await fileOf(entry), path: entry.fullPath.replace(/^\//, "") }); } catch { found.push({ file: null, path: entry.fullPath.replace(/^\//, "") }); }
  } else if (entry.isDirectory) {
    const reader = entry.createReader();
    for (let some = await entriesOf(reader); some.length; some = await entriesOf(reader)) for (const one of some) await walk(one, found);
  }
}

async function dropped(transfer) {
  // The entries must be taken at once: they are gone after the event.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const found = [];
  if (entries.length) for (const entry of entries) await walk(entry, found);
  else for (const file of transfer.files) found.push({ file, path: file.name });
  await add(found);
}

async function lookAt(job) {
  const { file } = job;
  const name = file.name;
  if (/^DICOMDIR$/i.test(name)) return ["skipped", say.directory];
  if (!file.size) return ["skipped", say.empty];
  if (file.size > told.most) return ["failed", say.too_large];
  let start;
  try { start = new Uint8Array(await file.slice(0, 132).arrayBuffer()); } catch { return ["failed", say.unreadable]; }
  const text = String.fromCharCode(...start);
  if (text.slice(128, 132) === "DICM" || text.startsWith("PK\x03\x04") || text.startsWith("DICM")) return null;
  // Old devices write files without that mark; their names end in a number, in nothing, or in .dcm.
  return NO_IMAGE.test(name) ? ["skipped", say.not_dicom] : null;
}

async function add(found) {
  if (!found.length || !form.reportValidity()) return;
  place("going").hidden = false;
  asking += 1;
  const fresh = [];
  found.sort((a, b) => (a.path < b.path ? -1 : 1));
  for (const { file, path } of found) {
    if (LEFT_OUT.test(path.split("/").pop())) continue;
    const key = file ? keyOf(`${told.person} ${path} ${file.size} ${file.lastModified}`) : `none ${path}`;
    if (known.has(key)) continue;
    known.add(key);
    const job = { key, path, file, size: file?.size ?? 0, offset: 0, sent: 0, state: "waiting", why: "", url: "" };
    jobs.push(job);
    const out = file ? await lookAt(job) : ["failed", say.unreadable];
    if (out) [job.state, job.why] = out;
    else fresh.push(job);
    row(job);
  }
  for (let at = 0; at < fresh.length; at += ASKED) {
    const some = fresh.slice(at, at + ASKED);
    await ask(some);
    for (const job of some) {
      if (job.state === "waiting") queue.push(job);
      row(job);
    }
    next();
  }
  asking -= 1;
  show();
}

// What is sent ------------------------------------------------------------------------------------------

const pause = (ms) => new Promise((well) => {
  const timer = setTimeout(well, ms);
  held = () => { clearTimeout(timer); well(); };
});

async function hold(text) {
  trouble(text);
  await pause(pauseBefore);
  pauseBefore = Math.min(pauseBefore * 2, LONGEST_PAUSE);
}

function call(address, headers, body, progress = () => {}) {
  return new Promise((well) => {
    const request = new XMLHttpRequest();
    request.open("POST", address);
    request.setRequestHeader("X-CSRFToken", token);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => progress(event.loaded);
    request.onloadend = () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* no words of ours */ }
      // A redirect to the sign-in page was followed: that is no answer.
      const out = [401, 403].includes(request.status) || (request.status === 200 && !request.getResponseHeader("content-type")?.includes("json"));
      well({ status: out ? 401 : request.status, answer });
    };
    call.open.add(request);
    request.addEventListener("loadend", () => call.open.delete(request));
    request.send(body);
  });
}
call.open = new Set();

async function ask(some) {
  for (;;) {
    const { status, answer } = await call(told.state, { "Content-Type": "application/json" }, JSON.stringify({ files: some.map((job) => [job.key, job.size]) }));
    if (status === 200) {
      well();
      some.forEach((job, number) => take(job, answer.files[number]));
      return;
    }
    if (status === 400) { some.forEach((job) => end(job, "failed", answer.text)); return; }
    await hold(status === 401 ? say.signed_out : say.offline);
  }
}

function take(job, standing) {
  job.offset = job.sent = standing.offset;
  if (!standing.fate) return;
  const { counts, whys } = standing.fate;
  for (const url of standing.fate.studies) studies.add(url);
  const all = Object.values(counts).reduce((sum, one) => sum + one, 0);
  const fate = ["quarantined", "refused", "stored", "duplicate"].find((one) => counts[one]) ?? "refused";
  job.offset = job.sent = job.size;
  job.counts = counts;
  end(job, fate, [all > 1 ? fill(say.of_zip, counts) : "", ...new Set(whys.map((why) => why.text))].filter(Boolean).join(" "), whys.find((why) => why.url)?.url ?? "");
}

function end(job, state, why = "", url = "") {
  Object.assign(job, { state, why, url });
  row(job);
}

async function send(job) {
  job.state = "sending";
  while (job.state === "sending" && !paused) {
    row(job);
    const from = job.offset;
    const slice = job.file.slice(from, from + SLICE);
    const last = from + slice.size === job.size;
    const headers = { "Upload-Key": job.key, "Upload-Length": job.size, "Upload-Offset": from, "Upload-Facility": place("facility")?.value ?? "", "Content-Type": "application/octet-stream" };
    let body = slice;
    // Files of a few megabytes are read first: what cannot be read is told apart from a link that broke.
    if (slice.size <= 4 << 20) {
      try { body = await slice.arrayBuffer(); } catch { return end(job, "failed", say.unreadable); }
    }
    const { status, answer } = await call(told.send, headers, body, (loaded) => {
      job.sent = from + Math.min(loaded, slice.size);
      if (last && loaded >= slice.size) job.working = true;
      row(job);
    });
    job.working = false;
    if (job.state !== "sending") return;
    if (status === 200) { well(); take(job, answer); continue; }
    job.sent = job.offset;
    if (status === 400) return end(job, "failed", answer.text);
    if (paused) break;
    if (status !== 409) await hold(status === 401 ? say.signed_out : answer.text && status !== 423 ? answer.text : say.offline);
    if (!paused && job.state === "sending") await ask([job]);
  }
  if (job.state === "sending") { job.state = "waiting"; queue.unshift(job); }
  row(job);
}

function next() {
  while (!paused && sending.size < AT_ONCE && queue.length) {
    const job = queue.shift();
    if (job.state !== "waiting") continue;
    const work = send(job).catch(() => end(job, "failed", say.unreadable)).finally(() => { sending.delete(work); next(); show(); });
    sending.add(work);
  }
}

function well() {
  pauseBefore = 1000;
  trouble("");
}

function trouble(text) {
  const box = place("trouble");
  if (box.textContent === text) return;
  box.textContent = text;
  box.hidden = !text;
}

// What is shown -----------------------------------------------------------------------------------------

const SHAPES = { stored: "ok", duplicate: "ok", quarantined: "warn", refused: "off", skipped: "off", failed: "bad", waiting: "wait", sending: "wait" };

function row(job) {
  if (!job.row) {
    if (place("list").tBodies[0].rows.length >= ROWS && !["failed", "quarantined"].includes(job.state)) return show();
    job.row = place("list").tBodies[0].insertRow();
    for (const title of place("list").tHead.rows[0].cells) job.row.insertCell().dataset.label = title.textContent;
    job.row.cells[0].textContent = job.path;
    job.row.cells[1].textContent = size(job.size);
    job.row.cells[1].className = "num";
  }
  const cell = job.row.cells[2];
  const text = job.working ? say.working : say[job.state];
  const now = `${text} ${job.why} ${job.url}`;
  if (job.shown !== now) {
    job.shown = now;
    const box = cell.firstElementChild ?? cell.appendChild(document.createElement("div"));
    box.replaceChildren();
    const state = place(`state-${SHAPES[job.state]}`).content.firstElementChild.cloneNode(true);
    state.lastElementChild.textContent = text;
    box.append(state);
    if (job.state === "sending") box.append(Object.assign(document.createElement("progress"), { max: 1, ariaLabel: job.path }));
    if (job.why) box.append(Object.assign(document.createElement("small"), { textContent: job.why }));
    if (job.url) box.append(" ", Object.assign(document.createElement("a"), { href: job.url, textContent: say.exception }));
  }
  const bar = cell.querySelector("progress");
  if (bar) bar.value = job.size ? job.sent / job.size : 0;
  show();
}

let drawing = false;
function show() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => { drawing = false; draw(); });
}

function draw() {
  const under = jobs.filter((job) => ["waiting", "sending"].includes(job.state));
  const real = jobs.filter((job) => job.state !== "skipped");
  const all = real.reduce((sum, job) => sum + job.size, 0);
  const done = real.reduce((sum, job) => sum + (["waiting", "sending"].includes(job.state) ? job.sent : job.size), 0);
  const busy = under.length > 0 || asking > 0;
  place("all").value = all ? done / all : 1;
  const at = Date.now();
  if (at - measured.at > 2000) {
    if (measured.at && done > measured.bytes) speed = speed * 0.6 + ((done - measured.bytes) / (at - measured.at)) * 400;
    measured = { at, bytes: done };
  }
  const left = speed > 0 && busy && !paused ? ` · ${fill(say.left, { time: span((all - done) / speed) })}` : "";
  place("says").textContent = paused && busy ? say.paused : busy ? fill(say.progress, { done: jobs.length - under.length, all: jobs.length, sent: size(done), size: size(all) }) + left : fill(say.done, { all: jobs.length });
  place("pause").textContent = paused ? say.go_on : say.pause;
  place("pause").hidden = place("cancel").hidden = !busy;
  place("going").dataset.busy = busy ? "yes" : "no";
  const hidden = jobs.filter((job) => !job.row).length;
  place("more").hidden = !hidden;
  place("more").textContent = fill(say.more, { count: hidden });
  place("summary").hidden = busy || !jobs.length;
  if (!busy) sum();
}

function sum() {
  const counts = {};
  for (const job of jobs) for (const [state, count] of Object.entries(job.counts ?? { [job.state]: 1 })) counts[state] = (counts[state] ?? 0) + count;
  place("counts").replaceChildren(...["stored", "duplicate", "quarantined", "refused", "skipped", "failed"].filter((state) => counts[state]).flatMap((state) => [
    Object.assign(document.createElement("dt"), { textContent: say[state] }),
    Object.assign(document.createElement("dd"), { textContent: counts[state] }),
  ]));
  place("studies").replaceChildren(...[...studies].map((url, number) => Object.assign(document.createElement("a"), { href: url, className: number ? "btn" : "btn btn-primary", textContent: studies.size > 1 ? `${say.study} ${number + 1}` : say.study })));
}

// What is pressed ---------------------------------------------------------------------------------------

for (const id of ["files", "folder"]) {
  place(id).addEventListener("change", (event) => {
    const chosen = [...event.target.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
    event.target.value = "";
    add(chosen);
  });
}

const drop = place("drop");
for (const kind of ["dragenter", "dragover"]) document.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
for (const kind of ["dragleave", "drop"]) document.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.remove("over"); });
document.addEventListener("drop", (event) => { if (event.dataTransfer) dropped(event.dataTransfer); });

place("pause").addEventListener("click", () => {
  paused = !paused;
  if (paused) { trouble(""); for (const request of call.open) request.abort(); } else next();
  held?.();
  show();
});

place("cancel").addEventListener("click", () => {
  const ended = jobs.filter((job) => ["waiting", "sending"].includes(job.state));
  for (const job of ended) { known.delete(job.key); end(job, "failed"); }
  queue.length = 0;
  for (const request of call.open) request.abort();
  held?.();
  const begun = ended.filter((job) => job.sent).map((job) => [job.key, job.size]);
  if (begun.length) call(told.forget, { "Content-Type": "application/json" }, JSON.stringify({ files: begun }));
  paused = false;
  show();
});

window.addEventListener("online", () => held?.());
window.addEventListener("beforeunload", (event) => { if (place("going").dataset.busy === "yes") event.preventDefault(); });
form.addEventListener("submit", (event) => event.preventDefault());
form.dataset.ready = "yes";
