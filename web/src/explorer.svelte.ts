// What the page knows: one object that all its parts read and change.
import { get, getColumn, getIds, getRows, type AtlasInfo, type Column, type ColumnInfo, type Look, type Order } from "./api";
import { inPolygon } from "./map/geometry";

export type How = "set" | "add" | "subtract";
/** How a selection came to be: written into the URL, so that it can be made again. */
export type Step =
  | { how: How; x: string; y: string; polygon: [number, number][] }
  | { how: How; by: string; texts: string[] } // of a column's texts
  | { how: How; ids: string[] };

export interface Coloring {
  by: string; // empty: by how many objects a pixel holds
  palette: string;
  isReversed: boolean;
  low: number | null; // null: the percentile that the legend says
  high: number | null;
  overlap: "mean" | "highest" | "count"; // what a pixel shows that holds several objects
}

const NOT_YET = new Uint32Array(0);

/** A list to look through, in its own order: what is to be labelled next, or what a search found. */
export interface Queue {
  title: string;
  rows: Uint32Array;
  by?: string; // the column that they are ordered by
}

export class Explorer {
  atlas = $state.raw<AtlasInfo>(undefined as unknown as AtlasInfo);
  infos = $derived(new Map(this.atlas.columns.map((info) => [info.name, info])));

  map = $state({ x: "", y: "" });
  coloring = $state<Coloring>({ by: "", palette: "viridis", isReversed: false, low: null, high: null, overlap: "highest" });
  order = $state<Order>({ by: "", descending: true, where: "", sample: 0, seed: 0 });
  look = $state<Look>({ part: "image", stretch: 1, invert: false, channels: "rgb" });
  size = $state(96); // pixels of an image in the grid
  overlays = $state(true); // labels, and values under images
  onTop = $state(100); // as many of the order's first are drawn over all others on the map

  /** All objects of the order that pass the filter. */
  ordered = $state.raw<Uint32Array>(NOT_YET);
  isOrdering = $state(true);
  orderError = $state("");

  steps = $state.raw<Step[]>([]);
  /** 1 for each selected row; null where nothing is selected, which means all. */
  selected = $state.raw<Uint8Array | null>(null);
  nSelected = $state(0);

  /** The row that the object panel shows, -1 for none, and those that it showed before. */
  focus = $state(-1);
  trail = $state.raw<number[]>([]);

  /** In the place of the order and the selection, while there is one. */
  queue = $state.raw<Queue | null>(null);

  /** What is in the grid and the table: the queue, else the order, of the selected alone where something is selected. */
  shown = $derived.by(() => {
    if (this.queue !== null) return this.queue.rows;
    const mask = this.selected;
    return mask === null ? this.ordered : this.ordered.filter((row) => mask[row] === 1);
  });

  /** The filter and the selection as one filter: the server, and Python, take the same of it. */
  where = $derived.by(() => {
    const selected = selecting(this.steps);
    const filter = this.order.where.trim();
    return filter && selected ? `(${filter}) and ${selected}` : filter || selected;
  });

  private columns = new Map<string, Promise<Column>>();
  private idColumn: Promise<{ at(row: number): string; length: number }> | null = null;
  private idsNow: { at(row: number): string; length: number } | null = null;
  private rowsById: Promise<Map<string, number>> | null = null;
  private asking: AbortController | null = null;

  constructor(atlas: AtlasInfo) {
    this.atlas = atlas;
    const named = (name: string) => atlas.maps.find((map) => map.name === name);
    const first = named("self-supervised") ?? named("residual") ?? atlas.maps[0];
    this.map = first ? { x: first.x, y: first.y } : { x: "brightness", y: atlas.first_shown };
    this.order.by = atlas.first_shown;
    this.coloring.by = atlas.first_shown;
  }

  get digest(): string {
    return this.atlas.digest;
  }

  get numbers(): ColumnInfo[] {
    return this.atlas.columns.filter((info) => info.kind === "number");
  }

  /** A column, loaded when it is first wanted. */
  column(name: string): Promise<Column> {
    const info = this.infos.get(name);
    if (!info) return Promise.reject(new Error(`there is no column ${name}`));
    let wanted = this.columns.get(name);
    if (!wanted) {
      wanted = getColumn(info, this.digest);
      this.columns.set(name, wanted);
      wanted.catch(() => this.columns.delete(name));
    }
    return wanted;
  }

  /** Load the ids; `idOf` can be asked from then on. */
  async loadIds(): Promise<void> {
    this.idColumn ??= getIds(this.digest);
    this.idsNow = await this.idColumn;
  }

  idOf(row: number): string {
    if (!this.idsNow) throw new Error("ids are not loaded yet");
    return this.idsNow.at(row);
  }

  idsOf(rows: ArrayLike<number>): string[] {
    return Array.from(rows, (row) => this.idOf(row));
  }

  /** Rows of ids, -1 where there is no such object. */
  async rowsOf(ids: string[]): Promise<number[]> {
    await this.loadIds();
    this.rowsById ??= Promise.resolve().then(() => {
      const rows = new Map<string, number>();
      for (let row = 0; row < this.idsNow!.length; row++) rows.set(this.idOf(row), row);
      return rows;
    });
    const rows = await this.rowsById;
    return ids.map((id) => rows.get(id) ?? -1);
  }

  /** Ask for the rows of the present order; the newest question counts. */
  async reorder(): Promise<void> {
    this.asking?.abort();
    const asking = (this.asking = new AbortController());
    this.isOrdering = true;
    try {
      const rows = await getRows({ ...this.order }, this.digest, asking.signal);
      this.ordered = rows;
      this.orderError = "";
    } catch (error) {
      if (asking.signal.aborted) return;
      this.orderError = error instanceof Error ? error.message : String(error);
    } finally {
      if (this.asking === asking) this.isOrdering = false;
    }
  }

  /** Select what a polygon on the map holds, or objects by id; null selects nothing, which shows all. */
  async select(step: Step | null): Promise<void> {
    if (step === null) {
      this.steps = [];
      this.selected = null;
      this.nSelected = 0;
      return;
    }
    step = rounded(step);
    const rows = await this.rowsIn(step);
    const mask = step.how === "set" || this.selected === null ? new Uint8Array(this.atlas.n_objects) : this.selected.slice();
    if (step.how === "subtract" && this.selected === null) mask.fill(1);
    for (const row of rows) mask[row] = step.how === "subtract" ? 0 : 1;
    this.steps = step.how === "set" ? [step] : [...this.steps, step];
    this.nSelected = mask.reduce((sum, each) => sum + each, 0);
    this.selected = mask;
  }

  private async rowsIn(step: Step): Promise<number[]> {
    if ("ids" in step) return (await this.rowsOf(step.ids)).filter((row) => row >= 0);
    if ("by" in step) {
      const { values, texts } = await this.column(step.by);
      const wanted = new Set(step.texts.map((text) => texts!.indexOf(text)));
      return Array.from(values.keys()).filter((row) => values[row] >= 0 && wanted.has(values[row]));
    }
    const [x, y] = await Promise.all([this.column(step.x), this.column(step.y)]);
    return inPolygon(x.values, y.values, step.polygon);
  }

  /** Show an object in the panel; -1 closes it. */
  open(row: number): void {
    if (row === this.focus) return;
    if (this.focus >= 0 && row >= 0) this.trail = [...this.trail.slice(-99), this.focus];
    if (row < 0) this.trail = [];
    this.focus = row;
  }

  /** Show another object in the open panel, as one step through a list rather than a step to a neighbor. */
  follow(row: number): void {
    this.trail = [];
    this.focus = row;
  }

  /** Take up what has become other: columns that were learnt or gathered since. */
  async refresh(): Promise<void> {
    const atlas = await get<AtlasInfo>("atlas");
    if (atlas.digest !== this.atlas.digest) throw new Error("the atlas has changed since this page was opened; load the page again");
    this.columns = new Map();
    this.atlas = atlas;
  }

  back(): void {
    const before = this.trail.at(-1);
    if (before === undefined) return;
    this.trail = this.trail.slice(0, -1);
    this.focus = before;
  }
}

/** Corners to six digits: shorter addresses, and the server selects the very same. */
function rounded(step: Step): Step {
  if (!("polygon" in step)) return step;
  return { ...step, polygon: step.polygon.map(([x, y]) => [Number(x.toPrecision(6)), Number(y.toPrecision(6))]) };
}

/** The filter that passes what was selected; empty where nothing was. */
export function selecting(steps: Step[]): string {
  let whole = "";
  for (const step of steps) {
    const one = "ids" in step ? among(step.ids) : "by" in step ? `${named(step.by)} in (${step.texts.map(quoted).join(", ")})` : inside(step);
    if (step.how === "set" || (step.how === "add" && !whole)) whole = one;
    else if (step.how === "add") whole = `(${whole} or ${one})`;
    else whole = whole ? `(${whole} and not ${one})` : `not ${one}`;
  }
  return whole;
}

const named = (column: string) => (/^[A-Za-z_]\w*$/.test(column) ? column : `\`${column}\``);
const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
const inside = (step: { x: string; y: string; polygon: [number, number][] }) => `inside(${[named(step.x), named(step.y), ...step.polygon.flat()].join(", ")})`;

/** The filter that passes these objects alone. */
export function among(ids: string[]): string {
  return ids.length ? `object_id in (${ids.join(", ")})` : "false";
}

export async function openExplorer(): Promise<Explorer> {
  return new Explorer(await get<AtlasInfo>("atlas"));
}
