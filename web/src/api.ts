// What the server says, and how it is asked. Ids are strings here: a number in JavaScript holds 16 digits, an id has 17 and more.
import { tableFromIPC } from "@uwdata/flechette";

export interface ColumnInfo {
  name: string;
  kind: "number" | "category" | "text";
  unit: string;
  description: string;
}

export interface LabelClass {
  name: string;
  color: string;
  key: string;
  description: string;
}

export interface AtlasInfo {
  name: string;
  id: string; // the same as long as it is this survey
  digest: string; // another where objects came, or were scored anew
  n_objects: number;
  is_read_only: boolean;
  is_blind: boolean;
  has_samp?: boolean; // other programs on the machine of who asks can be told
  is_site?: boolean; // published: no server answers, and nothing can be said
  expert: string | null;
  image: { size: number; channels: number; bands: string[]; pixel_scale: number | null };
  first_shown: string;
  columns: ColumnInfo[];
  maps: { name: string; x: string; y: string; of: string }[];
  feature_sets: string[];
  classes: LabelClass[];
}

/** A column over all objects, in the server's order of rows: numbers as float32, null as NaN; else texts by number. */
export interface Column {
  info: ColumnInfo;
  values: Float32Array; // of a category its number in `texts`, -1 where there is none
  texts: string[] | null;
}

export interface Order {
  by: string;
  descending: boolean;
  where: string;
  sample: number; // 0 is all
  seed: number;
}

export interface Look {
  part: "image" | "reconstruction" | "residual" | "triple";
  stretch: number; // exponent of gamma: 1 as stored, larger shows the faint
  invert: boolean;
  channels: string; // of "rgb", those that are shown
}

export class ServerError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

type Answers = (path: string, init?: RequestInit) => Promise<Response>;

/** What answers in the place of a server, in a site that was published. */
let published: Answers | null = null;

export function answerBy(answers: Answers): void {
  published = answers;
}

/** An answer, or an error that says what the server said. */
async function ask(path: string, init?: RequestInit): Promise<Response> {
  const answer = await (published ?? fetch)(path, { credentials: "same-origin", ...init });
  if (answer.ok) return answer;
  let said = `${answer.status} ${answer.statusText}`;
  try {
    const { detail } = await answer.json();
    said = typeof detail === "string" ? detail : JSON.stringify(detail);
  } catch {
    // The answer is no JSON: its status is all there is to say.
  }
  throw new ServerError(answer.status, said);
}

function query(fields: Record<string, string | number | boolean>): string {
  return new URLSearchParams(Object.entries(fields).map(([name, value]) => [name, String(value)])).toString();
}

export async function get<T>(path: string, fields: Record<string, string | number | boolean> = {}, signal?: AbortSignal): Promise<T> {
  const asked = query(fields);
  return (await ask(asked ? `api/${path}?${asked}` : `api/${path}`, { signal })).json();
}

export interface ObjectInfo {
  object_id: string;
  source: string;
  rank: number | null;
  of: number;
  scores: Record<string, { value: number | null; percentile: number | null }>;
  row: Record<string, string | number | boolean | null>;
  viewers: Record<string, string>;
  votes: { expert: string; label: string; at: string }[];
}

export interface LabelsSummary {
  experts: string[];
  classes: string[];
  n_votes: number[][];
  n_labelled: number;
  n_shared: number;
  pairs: { experts: [string, string]; n_objects: number; kappa: number | null }[];
  kappa: number | null;
  class_kappa: (number | null)[];
  disputed: string[];
  curve: { looked: number[]; found: number[] };
  interest: {
    n_labelled: number;
    finished: string;
    still_to_find: { mean: number | null; low: number | null; high: number | null };
    control: { n_labelled: number; n_found: number };
  } | null;
}

export interface Learning {
  state: "idle" | "running" | "done" | "failed";
  step: string;
  done: number;
  total: number;
  said: string;
}

/** What another program said by SAMP. */
export interface News {
  number: number;
  kind: "selected" | "highlighted" | "place";
  ids: string[];
  ra: number | null;
  dec: number | null;
}

/** Writing wants a header that no other site's form can send. */
export async function post<T>(path: string, body: unknown): Promise<T> {
  const headers = { "content-type": "application/json", "x-peculiar": "1" };
  return (await ask(`api/${path}`, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

async function arrow(path: string, fields: Record<string, string | number | boolean>, signal?: AbortSignal) {
  const answer = await ask(`api/${path}?${query(fields)}`, { signal });
  return tableFromIPC(new Uint8Array(await answer.arrayBuffer()), { useBigInt: true });
}

export async function getColumn(info: ColumnInfo, digest: string): Promise<Column> {
  const table = await arrow(`columns/${encodeURIComponent(info.name)}`, { digest });
  const column = table.getChildAt(0)!;
  if (info.kind === "number") return { info, values: column.toArray() as Float32Array, texts: null };
  const texts: string[] = [];
  const numbers = new Map<string, number>();
  const values = new Float32Array(column.length);
  let row = 0;
  for (const value of column as Iterable<string | null>) {
    let number = -1;
    if (value !== null) {
      number = numbers.get(value) ?? texts.push(value) - 1;
      numbers.set(value, number);
    }
    values[row++] = number;
  }
  return { info, values, texts };
}

/** Ids of all objects, read one by one where they are wanted: a million strings are not made at once. */
export async function getIds(digest: string): Promise<{ at(row: number): string; length: number }> {
  const column = (await arrow("columns/object_id", { digest })).getChildAt(0)!;
  return { at: (row) => column.at(row) as string, length: column.length };
}

/** Rows in an order, those that pass the filter alone. */
export async function getRows(order: Order, digest: string, signal?: AbortSignal): Promise<Uint32Array> {
  const rows = (await arrow("rows", { ...order, digest }, signal)).getChildAt(0)!;
  return rows.length ? (rows.toArray() as Uint32Array) : new Uint32Array(0); // of none, toArray is no typed array
}

/** A picture by its address, decoded. */
export async function getPicture(address: string, signal?: AbortSignal): Promise<ImageBitmap> {
  const answer = await ask(address, { signal });
  return createImageBitmap(await answer.blob(), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
}

/** Hand on an address that the browser can show; what is returned ends its use. */
export function showing(address: string, show: (address: string) => void): () => void {
  if (!published || !address) {
    show(address);
    return () => {};
  }
  let isOver = false;
  let url = "";
  void ask(address).then(async (answer) => {
    const blob = await answer.blob();
    if (isOver) return;
    url = URL.createObjectURL(blob);
    show(url);
  });
  return () => {
    isOver = true;
    if (url) URL.revokeObjectURL(url);
  };
}

function lookFields(look: Look): Record<string, string | number> {
  return { part: look.part, stretch: look.stretch, invert: look.invert ? 1 : 0, channels: look.channels };
}

/** The address of one picture of many objects, `columns` of them in a row. */
export function sheetUrl(ids: string[], size: number, columns: number, look: Look, digest: string): string {
  return `api/sheet?${query({ ids: ids.join(","), size, columns, ...lookFields(look), digest })}`;
}

/** The address of the objects of an order as a file. */
export function exportUrl(form: string, order: Order, digest: string): string {
  return `api/export?${query({ form, ...order, digest })}`;
}

/** The address of one object's picture, every pixel as it is stored. */
export function imageUrl(id: string, look: Look, digest: string): string {
  return `api/image/${id}?${query({ ...lookFields(look), digest })}`;
}
