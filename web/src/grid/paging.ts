// A table's rows come in pages.
export const PAGE = 100;
export const PAGES_KEPT = 300;

export interface Page {
  columns: string[];
  rows: (string | number | null)[][];
}

/** Rows of a table in view, first and one past the last. */
export function rowsIn(position: number, viewed: number, height: number, n: number): [number, number] {
  const first = Math.min(n, Math.max(0, Math.floor(position / height)));
  return [first, Math.max(first, Math.min(n, Math.ceil((position + viewed) / height)))];
}

/** Pages of these rows, from the middle outwards, and the next one in either direction after those. */
export function pagesFor(first: number, end: number, n: number): number[] {
  if (n === 0 || end <= first) return [];
  const middle = (first + end - 1) / 2 / PAGE;
  const last = Math.ceil(n / PAGE) - 1;
  const from = Math.floor(first / PAGE);
  const to = Math.floor((end - 1) / PAGE);
  const pages: number[] = [];
  for (let page = from; page <= to; page++) pages.push(page);
  pages.sort((one, other) => Math.abs(one + 0.5 - middle) - Math.abs(other + 0.5 - middle));
  const beyond = [(first - from * PAGE) / PAGE < 0.3 ? from - 1 : -1, (end - to * PAGE) / PAGE > 0.7 ? to + 1 : -1];
  return [...pages, ...beyond.filter((page) => page >= 0 && page <= last)];
}

/** The values of a page by object, whatever order the server gives them in. */
export function byObject(page: Page, ids: readonly string[]): ((string | number | null)[] | null)[] {
  const found = new Map(page.rows.map((row) => [String(row[0]), row.slice(1)]));
  return ids.map((id) => found.get(id) ?? null);
}
