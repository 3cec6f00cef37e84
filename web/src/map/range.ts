// Numbers for a legend: percentiles, a histogram, and how a number is written.

export interface Range {
  low: number;
  high: number;
}

const MOST_SAMPLED = 100_000;

/** The finite values in ascending order; of many, each so-manieth. */
export function sampled(values: Float32Array, rows: Uint32Array | null = null): Float32Array {
  const n = rows ? rows.length : values.length;
  const step = Math.max(1, Math.ceil(n / MOST_SAMPLED));
  const kept = new Float32Array(Math.ceil(n / step));
  let count = 0;
  for (let i = 0; i < n; i += step) {
    const value = values[rows ? rows[i] : i];
    if (Number.isFinite(value)) kept[count++] = value;
  }
  return kept.subarray(0, count).sort();
}

/** A percentile of sorted values, linear between two; NaN of none. */
export function percentile(sorted: Float32Array, percent: number): number {
  if (!sorted.length) return Number.NaN;
  const place = ((sorted.length - 1) * percent) / 100;
  const before = Math.floor(place);
  const after = Math.min(sorted.length - 1, before + 1);
  return sorted[before] + (sorted[after] - sorted[before]) * (place - before);
}

/** From one percentile to the other, never empty: constant values get a range around them. */
export function percentileRange(sorted: Float32Array, from = 1, to = 99): Range {
  if (!sorted.length) return { low: 0, high: 1 };
  return widened({ low: percentile(sorted, from), high: percentile(sorted, to) });
}

function widened({ low, high }: Range): Range {
  if (high > low) return { low, high };
  const by = Math.abs(low) * 0.01 || 0.5;
  return { low: low - by, high: high + by };
}

/** Where handles can be dragged: all values, but a tail ten times as long as their bulk is cut. */
export function domainOf(sorted: Float32Array): Range {
  if (!sorted.length) return { low: 0, high: 1 };
  const bulk = percentileRange(sorted, 0.5, 99.5);
  const wide = bulk.high - bulk.low;
  return widened({ low: Math.max(sorted[0], bulk.low - wide), high: Math.min(sorted[sorted.length - 1], bulk.high + wide) });
}

/** Heights 0 to 1 of `n` bars from low to high: logarithms of counts. Values outside are in no bar. */
export function histogram(sorted: Float32Array, { low, high }: Range, n: number): Float32Array {
  const counts = new Float32Array(n);
  for (const value of sorted) if (value >= low && value <= high) counts[Math.min(n - 1, Math.floor(((value - low) / (high - low)) * n))]++;
  const top = Math.log1p(Math.max(...counts));
  return top > 0 ? counts.map((count) => Math.log1p(count) / top) : counts;
}

export function count(n: number): string {
  return n.toLocaleString("en-US");
}

/** A number as short as its neighbors allow: `span` is how far apart the numbers beside it are. */
export function written(value: number, span = Math.abs(value)): string {
  if (!Number.isFinite(value)) return "none";
  if (value === 0) return "0";
  const size = Math.max(Math.abs(value), span);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e").replace("-", "−");
  const digits = Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(span || size))));
  return value.toLocaleString("en-US", { maximumFractionDigits: digits, minimumFractionDigits: 0 }).replace("-", "−");
}
