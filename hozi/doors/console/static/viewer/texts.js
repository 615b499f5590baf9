// The texts in the corners of a picture: whose it is, what it is, and how it is shown.
import { figure, say } from "./page.js";

const time = (text) => (/^\d{4}/.test(text ?? "") ? `${text.slice(0, 2)}:${text.slice(2, 4)}${/^\d{6}/.test(text) ? `:${text.slice(4, 6)}` : ""}` : "");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
export const date = (text) =>
  /^\d{8}$/.test(text ?? "") ? `${Number(text.slice(6))} ${MONTHS[Number(text.slice(4, 6)) - 1] ?? ""} ${text.slice(0, 4)}` : text || "";

export function who(study) {
  const { name, id, issuer, born, sex } = study.patient;
  return [name, `${say("ID")} ${id || "–"}${issuer ? ` (${issuer})` : ""}`, `${say("born")} ${born} · ${say("sex")} ${sex || "–"}`];
}

export function what(study, stack, image) {
  const side = image.side || image.laterality || "";
  return [
    `${date(study.date)} ${study.description || ""}`.trim(),
    [stack.number != null ? `${stack.number}.` : "", stack.modality, stack.description].filter(Boolean).join(" "),
    [image.part, image.view, side && say(side === "L" ? "left side" : side === "R" ? "right side" : side)].filter(Boolean).join(" · "),
    image.comment ?? "",
    image.lossy === "01" ? say("stored lossy", { ratio: image.ratio ? ` ${figure(Number(String(image.ratio).split("\\")[0]))}:1` : "" }) : "",
  ].filter(Boolean);
}

export function how(pane, image) {
  const { stack, index, view } = pane;
  const window = pane.window(image);
  const lines = [];
  if (pane.mark) lines.push(say(pane.mark));
  if (stack.images.length > 1) lines.push(`${index + 1} / ${stack.images.length}${pane.hint ? ` · ${pane.hint}` : ""}`);
  if (pane.bare) return lines;
  if (image.location != null || image.thick) {
    lines.push(
      [
        image.location != null ? `${say("at")} ${figure(image.location)} mm` : "",
        image.thick ? `${say("thick")} ${figure(image.thick)} mm` : "",
      ].filter(Boolean).join(" · "),
    );
  }
  const digits = window?.width < 10 ? 2 : 0;
  if (window) lines.push(`${say("W")} ${figure(window.width, digits)} ${say("L")} ${figure(window.center, digits)}${window.name ? ` · ${window.name}` : ""}`);
  lines.push(
    [
      `${Math.round(pane.fit(image) * view.zoom * 100)} %`,
      view.turns ? `${view.turns * 90}°` : "",
      view.mirrored ? say("mirrored") : "",
      view.invert ? say("inverted") : "",
    ].filter(Boolean).join(" · "),
  );
  return lines;
}

export function technique(image) {
  return [
    [image.kv ? `${figure(image.kv)} kV` : "", image.ma ? `${figure(image.ma)} mA` : "", !image.ma && image.mas ? `${figure(image.mas)} mAs` : ""].filter(Boolean).join(" · "),
    [image.tr ? `TR ${figure(image.tr)}` : "", image.te ? `TE ${figure(image.te)}` : "", image.flip ? `FA ${figure(image.flip)}°` : ""].filter(Boolean).join(" · "),
    image.sequence ?? "",
    [time(image.time || image.made), image.heart ? `${figure(image.heart)}/min` : ""].filter(Boolean).join(" · "),
  ].filter(Boolean);
}

