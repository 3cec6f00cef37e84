// A published site: the same page, answered by files beside it instead of a server. Files are scripts, as a browser lets a
// page that was opened from a disk read nothing else; each hands over one text.
import { tableFromArrays, tableFromIPC, tableToIPC } from "@uwdata/flechette";
import { answerBy } from "./api";

interface Contents {
  columns: Record<string, string>; // name of its file
  n_objects: number;
  objects_a_file: number;
  images_a_file: number;
  image_size: number;
  parts: string[];
}

const waiting = new Map<string, (text: string) => void>();
const loaded = new Map<string, Promise<string>>();
const decoded = new Map<string, Promise<ImageBitmap>>();
const DECODED = 64; // files of images that are kept decoded

declare global {
  interface Window {
    peculiarSite: { put(name: string, text: string): void };
  }
}
window.peculiarSite = { put: (name, text) => waiting.get(name)?.(text) };

/** The text of a file, loaded once. */
function load(name: string): Promise<string> {
  let wanted = loaded.get(name);
  if (!wanted) {
    wanted = new Promise<string>((resolve, reject) => {
      const script = document.createElement("script");
      waiting.set(name, resolve);
      script.src = `data/${name}.js`;
      script.onerror = () => reject(new TypeError(`data/${name}.js is not there`));
      script.onload = () => script.remove();
      document.head.append(script);
    });
    wanted.catch(() => loaded.delete(name));
    loaded.set(name, wanted);
  }
  return wanted;
}

const json = (value: unknown, status = 200) => new Response(JSON.stringify(value), { status, headers: { "content-type": "application/json" } });
const refusal = (detail: string, status = 404) => json({ detail }, status);
const bytes = (text: string) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

let contents: Promise<Contents> | null = null;
const known = () => (contents ??= load("contents").then((text) => JSON.parse(text) as Contents));

let rowsById: Promise<Map<string, number>> | null = null;
/** Rows of ids: every file is in the order of rows. */
function rowsOf(): Promise<Map<string, number>> {
  rowsById ??= column("object_id").then((table) => new Map(Array.from(table.getChildAt(0)! as Iterable<string>, (id, row) => [id, row])));
  return rowsById;
}

async function column(name: string) {
  return tableFromIPC(bytes(await load((await known()).columns[name])), { useBigInt: true });
}

/** What is kept of each object, in files of some objects. */
async function kept<T>(kind: string, row: number): Promise<T> {
  const { objects_a_file } = await known();
  const file = JSON.parse(await load(`${kind}-${Math.floor(row / objects_a_file)}`)) as T[];
  return file[row % objects_a_file];
}

async function rows(query: URLSearchParams): Promise<Response> {
  const { columns, n_objects } = await known();
  if (query.get("where")) return refusal("a published site has no filters", 400);
  const by = query.get("by") || "object_id";
  if (!(by in columns)) return refusal(`no number ${by} to sort by`);
  const values = (await column(by)).getChildAt(0)!.toArray() as ArrayLike<number>;
  const sign = query.get("descending") === "true" ? -1 : 1;
  const key = (row: number) => (Number.isNaN(values[row]) ? Infinity : sign * values[row]);
  let found = Array.from({ length: n_objects }, (_, row) => row).sort((a, b) => key(a) - key(b) || a - b);
  const sample = Number(query.get("sample"));
  if (sample > 0 && sample < n_objects) {
    const seed = Number(query.get("seed"));
    const drawn = new Set([...found].sort((a, b) => scrambled(a, seed) - scrambled(b, seed)).slice(0, sample));
    found = found.filter((row) => drawn.has(row));
  }
  return new Response(tableToIPC(tableFromArrays({ row: Uint32Array.from(found) }), { format: "stream" }) as BlobPart);
}

/** A number that looks random, of a row and a seed (the finalizer of MurmurHash3, by A. Appleby, public domain). */
function scrambled(row: number, seed: number): number {
  let mixed = (row + 1 + Math.imul(seed | 0, 0x9e3779b1)) | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

async function table(query: URLSearchParams): Promise<Response> {
  const names = (query.get("names") ?? "").split(",").filter((name) => name && name !== "object_id");
  const ids = (query.get("ids") ?? "").split(",");
  const places = await rowsOf();
  const all = await Promise.all(ids.map((id) => kept<{ row: Record<string, unknown> }>("objects", places.get(id)!)));
  return json({ columns: ["object_id", ...names], rows: all.map(({ row }, at) => [ids[at], ...names.map((name) => row[name] ?? null)]) });
}

async function find(query: URLSearchParams): Promise<Response> {
  const places = await rowsOf();
  const words = (query.get("q") ?? "").split(/[\s,;]+/).filter(Boolean);
  const ids = words.filter((word) => places.has(word));
  if (!ids.length) return refusal("a published site finds objects by their ids alone, and has none of these", 400);
  return json({ what: "ids", said: `${ids.length} found`, ids });
}

// Pictures.

function decodedFile(part: string, file: number): Promise<ImageBitmap> {
  const name = `${part}-${file}`;
  let wanted = decoded.get(name);
  if (!wanted) {
    wanted = load(name).then((text) => createImageBitmap(new Blob([bytes(text)], { type: "image/jpeg" })));
    decoded.set(name, wanted);
    loaded.delete(name); // the text is not needed again
    if (decoded.size > DECODED) {
      const [oldest, bitmap] = decoded.entries().next().value!;
      decoded.delete(oldest);
      void bitmap.then((each) => each.close());
    }
  }
  return wanted;
}

async function sheet(ids: string[], size: number, columns: number, query: URLSearchParams): Promise<Response> {
  const { images_a_file, image_size, parts } = await known();
  const asked = query.get("part") ?? "image";
  const shown = asked === "triple" ? ["image", "reconstruction", "residual"] : [asked];
  if (shown.some((part) => !parts.includes(part))) return refusal(`this site has no ${asked}`);
  const places = await rowsOf();
  const canvas = new OffscreenCanvas(size * shown.length * Math.min(columns, ids.length), size * Math.ceil(ids.length / columns));
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.imageSmoothingQuality = "high";
  for (const [at, id] of ids.entries()) {
    const row = places.get(id);
    if (row === undefined) return refusal(`no object ${id} in this site`);
    for (const [turn, part] of shown.entries()) {
      const whole = await decodedFile(part, Math.floor(row / images_a_file));
      const wide = whole.width / image_size;
      const place = row % images_a_file;
      const [x, y] = [(place % wide) * image_size, Math.floor(place / wide) * image_size];
      const left = ((at % columns) * shown.length + turn) * size;
      context.drawImage(whole, x, y, image_size, image_size, left, Math.floor(at / columns) * size, size, size);
    }
  }
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  if (looked(pixels.data, query)) context.putImageData(pixels, 0, 0);
  return new Response(await canvas.convertToBlob({ type: "image/png" }));
}

/** Stretch, invert and choose channels as the server does; false where nothing is to be done. */
function looked(data: Uint8ClampedArray, query: URLSearchParams): boolean {
  const stretch = Number(query.get("stretch") ?? 1);
  const isInverted = query.get("invert") === "1";
  const channels = query.get("channels") ?? "rgb";
  if (stretch === 1 && !isInverted && channels.length === 3) return false;
  const levels = Uint8ClampedArray.from({ length: 256 }, (_, level) => {
    const shown = 255 * (level / 255) ** (1 / stretch);
    return isInverted ? 255 - shown : shown;
  });
  const only = channels.length === 1 ? "rgb".indexOf(channels) : -1;
  for (let at = 0; at < data.length; at += 4) {
    for (let channel = 0; channel < 3; channel++) {
      const level = only >= 0 ? data[at + only] : channels.includes("rgb"[channel]) ? data[at + channel] : 0;
      data[at + channel] = levels[level];
    }
    if (only >= 0) data[at] = data[at + 1] = data[at + 2] = data[at + only];
  }
  return true;
}

answerBy(async (path) => {
  const [place, asked] = path.replace(/^api\//, "").split("?");
  const query = new URLSearchParams(asked);
  const [what, name, more] = place.split("/").map(decodeURIComponent);
  if (what === "atlas") return json({ ...JSON.parse(await load("atlas")), is_site: true });
  if (what === "labels") return json({ labels: [] });
  if (what === "columns") return name in (await known()).columns ? new Response(bytes(await load((await known()).columns[name]))) : refusal(`no column ${name}`);
  if (what === "rows") return rows(query);
  if (what === "table") return table(query);
  if (what === "find") return find(query);
  if (what === "sheet") return sheet((query.get("ids") ?? "").split(","), Number(query.get("size")), Number(query.get("columns")), query);
  if (what === "image") return sheet([name], (await known()).image_size, 1, query);
  const row = what === "object" ? (await rowsOf()).get(name) : undefined;
  if (row === undefined) return refusal("a published site does not have this");
  return more === "neighbors" ? json(await kept("neighbors", row)) : json(await kept("objects", row));
});

