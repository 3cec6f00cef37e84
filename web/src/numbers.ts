// Numbers as people read them.

/** Degrees to 0.4 milliarcsec, right ascension and declination to be copied; other columns as they are shown. */
export function shownIn(name: string, value: string | number | boolean | null | undefined): string {
  return (name === "ra" || name === "dec") && typeof value === "number" ? value.toFixed(7) : shown(value);
}

/** Four digits that count; all of a whole number; a dash for what is missing. */
export function shown(value: string | number | boolean | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return Math.abs(value) < 1e5 ? String(value) : value.toLocaleString("en");
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(3);
  return size >= 1000 ? value.toFixed(1) : size >= 100 ? value.toFixed(2) : value.toPrecision(4);
}
