// What the map shows: columns that were loaded, and all that follows from them, the filter and the theme, whatever the camera.
import { untrack } from "svelte";
import type { Column } from "../api";
import type { Explorer } from "../explorer.svelte";
import { extentOf } from "./camera";
import { buildGrid, crowding, type Grid } from "./grid";
import { colorAt, type LegendState } from "./legend";
import type { Ring } from "./overlay";
import { categorize, css, placesOf, ramp, rampOf } from "./palettes";
import { domainOf, percentileRange, sampled, type Range } from "./range";
import { fullCount, type Overlap, type Scene, type Shade, type View } from "./renderer";
import { readTheme } from "./theme";

const DIMMED = 0.16; // opacity of what is not selected
const GRID_LATER = 50; // milliseconds: what is needed to find points is not needed to see them

const said = (error: unknown) => (error instanceof Error ? error.message : String(error));
const named = ({ info }: Column) => info.name + (info.unit ? ` (${info.unit})` : "");

/** To be made while a component is: its effects end with it. */
export class Shown {
  private readonly explorer: Explorer;
  place = $state.raw<{ x: Column; y: Column } | null>(null);
  paint = $state.raw<{ by: string; column: Column | null } | null>(null);
  grid = $state.raw<Grid | null>(null);
  theme = $state.raw(readTheme());
  failure = $state("");

  // ---- where
  isMap = $derived.by(() => this.explorer.atlas.maps.some((map) => map.x === this.place?.x.info.name && map.y === this.place?.y.info.name));
  whole = $derived.by(() => this.place && extentOf(this.place.x.values, this.place.y.values));
  /** What the first view shows: all that there is. Far outliers are what is looked for here. */
  extent = $derived.by(() => this.whole);
  axes = $derived.by(() => (this.place && !this.isMap ? { x: named(this.place.x), y: named(this.place.y) } : null));
  mapName = $derived.by(() => {
    const { x, y } = this.explorer.map;
    return this.explorer.atlas.maps.find((map) => map.x === x && map.y === y)?.name ?? `${x} and ${y}`;
  });

  // ---- which
  /** Rows that the filter leaves; null: all, also as long as the first order is not there. */
  rows = $derived.by(() => {
    const { ordered, isOrdering, atlas } = this.explorer;
    return ordered.length === atlas.n_objects || (ordered.length === 0 && isOrdering) ? null : ordered;
  });
  isDrawn = $derived.by(() => {
    if (!this.rows) return null;
    const mask = new Uint8Array(this.explorer.atlas.n_objects);
    for (const row of this.rows) mask[row] = 1;
    return mask;
  });
  /** Of each row its place in the order. */
  ranks = $derived.by(() => {
    const n = this.explorer.atlas.n_objects;
    const rank = new Uint32Array(n).fill(n);
    this.explorer.ordered.forEach((row, i) => (rank[row] = i));
    return rank;
  });
  counts = $derived.by(() => {
    let [nDrawn, nWithout, nNowhere] = [0, 0, 0];
    const { place, rows, values } = this;
    if (!place) return { nDrawn, nWithout, nNowhere };
    const [x, y] = [place.x.values, place.y.values];
    const n = rows ? rows.length : x.length;
    for (let i = 0; i < n; i++) {
      const row = rows ? rows[i] : i;
      if (!Number.isFinite(x[row]) || !Number.isFinite(y[row])) nNowhere++;
      else {
        nDrawn++;
        if (values && Number.isNaN(values[row])) nWithout++;
      }
    }
    return { nDrawn, nWithout, nNowhere };
  });

  // ---- in which color
  kind = $derived.by((): LegendState["kind"] => (!this.paint?.column ? "density" : this.paint.column.texts ? "category" : "number"));
  overlap = $derived.by((): Overlap => {
    const asked = this.explorer.coloring.overlap;
    return this.kind === "density" ? "count" : this.kind === "category" && asked === "mean" ? "highest" : asked;
  });
  categories = $derived.by(() => {
    const column = this.paint?.column;
    return column?.texts ? categorize(column.values, column.texts, column.info.name === "label" ? this.explorer.atlas.classes : []) : [];
  });
  values = $derived.by(() => {
    const column = this.paint?.column;
    return !column ? null : column.texts ? placesOf(column.values, column.texts, this.categories) : column.values;
  });
  sorted = $derived.by(() => (this.kind === "number" && this.values ? sampled(this.values) : new Float32Array(0)));
  domain = $derived.by(() => domainOf(this.sorted));
  range = $derived.by((): Range => {
    if (this.kind === "category") return { low: 0, high: 255 };
    const usual = percentileRange(this.sorted);
    return { low: this.explorer.coloring.low ?? usual.low, high: this.explorer.coloring.high ?? usual.high };
  });
  palette = $derived.by(() => {
    const { palette, isReversed } = this.explorer.coloring;
    return this.kind === "category" && this.overlap !== "count" ? rampOf(this.categories) : ramp(palette, isReversed);
  });
  without = $derived.by(() => (this.kind === "category" ? this.theme.faint : this.theme.without));
  crowding = $derived.by(() => {
    if (!this.grid || this.overlap !== "count") return 0;
    return crowding(this.grid) * (this.rows ? this.rows.length / this.explorer.atlas.n_objects : 1);
  });

  // ---- for the renderer and what is over it
  scene = $derived.by((): Scene | null => {
    const { place, paint, values, rows } = this;
    return place && paint && { x: place.x.values, y: place.y.values, values, rows, selected: this.explorer.selected };
  });
  shade = $derived.by((): Shade => {
    const { overlap, range, palette, without } = this;
    return { overlap, ...range, crowding: this.crowding, palette, without, dimmed: DIMMED };
  });
  rings = $derived.by((): Ring[] => {
    const { selected, ordered, onTop } = this.explorer;
    if (!this.place || onTop === 0) return [];
    const found: Ring[] = [];
    for (const row of ordered.subarray(0, onTop)) {
      const [x, y] = this.placeOf(row)!;
      if (Number.isFinite(x) && Number.isFinite(y)) found.push({ row, x, y, color: this.colorOf(row), opacity: selected && !selected[row] ? 0.3 : 1 });
    }
    return found;
  });

  constructor(explorer: Explorer) {
    this.explorer = explorer;
    $effect(() => this.loadPlace());
    $effect(() => this.loadPaint());
    $effect(() => {
      const { place, whole } = this;
      this.grid = null;
      if (!place || !whole) return;
      const build = () => (this.grid = buildGrid(place.x.values, place.y.values, whole));
      if (untrack(() => this.overlap) === "count") return void build();
      const timer = setTimeout(build, GRID_LATER);
      return () => clearTimeout(timer);
    });
  }

  /** The newest wish counts: what comes late for another is dropped. */
  private loadPlace(): void {
    const { x, y } = this.explorer.map;
    this.failure = "";
    if (!x || !y) return;
    Promise.all([this.explorer.column(x), this.explorer.column(y)]).then(
      ([columnX, columnY]) => {
        if (this.explorer.map.x === x && this.explorer.map.y === y) this.place = { x: columnX, y: columnY };
      },
      (error: unknown) => (this.failure = `The map could not be loaded: ${said(error)}`),
    );
  }

  private loadPaint(): void {
    const by = this.explorer.coloring.by;
    if (!by) {
      this.paint = { by, column: null };
      return;
    }
    this.explorer.column(by).then(
      (column) => {
        if (this.explorer.coloring.by === by) this.paint = { by, column };
      },
      (error: unknown) => {
        this.failure = `The colors could not be loaded: ${said(error)}`;
        this.paint = { by: "", column: null };
      },
    );
  }

  placeOf(row: number): [number, number] | null {
    return this.place && [this.place.x.values[row], this.place.y.values[row]];
  }

  /** The color of a point; empty where it is of a pixel and not of a point. */
  colorOf(row: number): string {
    const value = this.values ? this.values[row] : Number.NaN;
    return this.overlap === "count" ? "" : Number.isNaN(value) ? css(this.without) : colorAt(this.palette, value, this.range);
  }

  legend(view: View | null): LegendState {
    const { kind, overlap, palette, sorted, domain, range, categories } = this;
    const { low, high } = this.explorer.coloring;
    return {
      ...{ kind, overlap, palette, sorted, domain, range, categories, ...this.counts },
      title: this.paint?.by || "objects in a pixel",
      unit: this.paint?.column?.info.unit ?? "",
      isRangeOwn: low !== null || high !== null,
      nFull: view ? fullCount(this.shade, view) : 1,
    };
  }
}
