// What the legend says, on the page (Legend.svelte) and in a saved picture.
import type { Category } from "./palettes";
import { css } from "./palettes";
import type { Pen } from "./pen";
import { count, histogram, written, type Range } from "./range";
import type { Overlap } from "./renderer";
import type { Theme } from "./theme";

export interface LegendState {
  kind: "number" | "category" | "density";
  title: string;
  unit: string;
  overlap: Overlap;
  palette: Uint8Array;
  sorted: Float32Array; // of numbers, a sample
  domain: Range;
  range: Range;
  isRangeOwn: boolean; // set by hand
  categories: Category[];
  nFull: number; // of a density: objects in a pixel at the palette's end
  nDrawn: number;
  nWithout: number; // on the map, without a value
  nNowhere: number; // not on this map
}

export const N_BARS = 60;

const SAYS: Record<Overlap, string> = {
  highest: "highest in a pixel wins",
  mean: "mean of a pixel",
  count: "number in a pixel",
};

export function saysOverlap(legend: LegendState): string {
  return legend.kind === "category" && legend.overlap === "highest" ? "rarest in a pixel wins" : SAYS[legend.overlap];
}

/** The color of a value by the palette between low and high. */
export function colorAt(palette: Uint8Array, value: number, { low, high }: Range): string {
  const at = Math.round(255 * Math.min(1, Math.max(0, (value - low) / (high - low || 1))));
  return css(palette.subarray(4 * at, 4 * at + 3));
}

export interface Bar {
  height: number; // 0 to 1
  color: string;
}

export function barsOf({ kind, overlap, palette, sorted, domain, range }: LegendState): Bar[] {
  if (kind === "density" || overlap === "count") {
    return Array.from({ length: N_BARS }, (_, i) => ({ height: 0, color: colorAt(palette, i, { low: 0, high: N_BARS - 1 }) }));
  }
  const heights = histogram(sorted, domain, N_BARS);
  const step = (domain.high - domain.low) / N_BARS;
  return Array.from(heights, (height, i) => ({ height, color: colorAt(palette, domain.low + (i + 0.5) * step, range) }));
}

/** What is not in the colors, a line each. */
export function missing({ nWithout, nNowhere }: LegendState): string[] {
  const lines: string[] = [];
  if (nWithout) lines.push(`${count(nWithout)} without a value (gray)`);
  if (nNowhere) lines.push(`${count(nNowhere)} not on this map`);
  return lines;
}

export const LEGEND_WIDTH = 220;

/** The legend in a saved picture, from (x, y) down. */
export function drawLegend(pen: Pen, x: number, y: number, theme: Theme, legend: LegendState): void {
  const small = { fill: theme.quiet, size: 11 };
  pen.text(x, y + 12, legend.title + (legend.unit ? ` (${legend.unit})` : ""), { fill: theme.ink, size: 13, weight: 600 });
  pen.text(x, y + 29, saysOverlap(legend), small);
  let down = y + 44;
  if (legend.kind === "category" && legend.overlap !== "count") {
    for (const { name, color, count: n } of legend.categories) {
      pen.circle(x + 5, down + 5, 4.5, { fill: color });
      pen.text(x + 17, down + 9, name, { fill: theme.ink, size: 12 });
      pen.text(x + LEGEND_WIDTH, down + 9, count(n), { ...small, anchor: "end" });
      down += 19;
    }
  } else {
    const wide = LEGEND_WIDTH / N_BARS;
    const bars = barsOf(legend);
    const isCount = legend.kind === "density" || legend.overlap === "count";
    const high = isCount ? 0 : 44;
    bars.forEach(({ height, color }, i) => {
      if (height > 0) pen.rect(x + i * wide, down + high * (1 - height), wide + 0.6, high * height, { fill: color });
      pen.rect(x + i * wide, down + high + 3, wide + 0.6, 7, { fill: color });
    });
    down += high + 25;
    const { low, high: top } = legend.domain;
    pen.text(x, down, isCount ? "1" : written(low, top - low), small);
    pen.text(x + LEGEND_WIDTH, down, isCount ? `${written(Math.round(legend.nFull))} or more` : written(top, top - low), { ...small, anchor: "end" });
    if (!isCount) {
      const { low: from, high: to } = legend.range;
      pen.text(x, (down += 17), `colors from ${written(from, to - from)} to ${written(to, to - from)}`, small);
    }
    down += 12;
  }
  for (const line of missing(legend)) pen.text(x, (down += 16), line, small);
}
