// Columns in the order in which people want them, and numbers as they read them.
import type { ColumnInfo } from "../api";

const SCORE = /^(score_|interest|first_shown)/;

export function isScore(name: string, firstShown = ""): boolean {
  return name === firstShown || SCORE.test(name);
}

/** The first-shown score, then other scores, then the rest; each as the atlas has them. */
export function scoresFirst(infos: readonly ColumnInfo[], firstShown: string): { scores: ColumnInfo[]; others: ColumnInfo[] } {
  const scores = infos.filter((info) => isScore(info.name, firstShown));
  const first = scores.filter((info) => info.name === firstShown);
  return {
    scores: [...first, ...scores.filter((info) => info.name !== firstShown)],
    others: infos.filter((info) => !isScore(info.name, firstShown)),
  };
}

/** What a table shows until the person chooses: the first-shown score, its percentile, three more scores, the place. */
export function defaultColumns(infos: readonly ColumnInfo[], firstShown: string): string[] {
  const names = new Set(infos.map((info) => info.name));
  const wanted = [firstShown, `${firstShown}_percentile`].filter((name) => names.has(name));
  const plain = infos.filter((info) => info.kind === "number" && isScore(info.name) && !wanted.includes(info.name));
  const isDerived = (name: string) => /_(sigma|robust_sigma|percentile|conditional|std|rank)$/.test(name);
  const more = [...plain.filter((info) => !isDerived(info.name)), ...plain.filter((info) => isDerived(info.name))].slice(0, 3);
  return [...wanted, ...more.map((info) => info.name), ...["ra", "dec"].filter((name) => names.has(name))];
}

/** Whole numbers whole, places on the sky to 6 digits, others to 4 that count. */
export function formatValue(value: string | number | null, info: Pick<ColumnInfo, "name" | "kind">): string {
  if (value === null || (typeof value === "number" && Number.isNaN(value))) return "–";
  if (typeof value === "string") return value;
  if (/^(ra|dec)(_|$)/.test(info.name)) return value.toFixed(6);
  if (Number.isInteger(value)) return Math.abs(value) < 1e15 ? value.toString() : value.toExponential(3);
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(3);
  return value.toFixed(Math.max(0, Math.min(7, 3 - Math.floor(Math.log10(size)))));
}

/** A number of objects with thin groups of thousands. */
export function formatCount(count: number): string {
  return count.toLocaleString("en-US");
}
