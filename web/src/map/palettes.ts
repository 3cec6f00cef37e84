// Palettes, safe for color blindness: 17 or 32 anchors, and straight lines between them in 256 steps.
// viridis, magma, inferno: S. van der Walt, N. Smith, E. Firing (CC0), cividis: J. Nunez, C. Anderton, R. Renslow 2018, each read from matplotlib.
// batlow: F. Crameri 2018 (MIT), every sixteenth of its 256 colors, read from cmcrameri.
// tide: ours (CC0); two hues that fall alike in lightness, L* = 88 - 48 |t|, from a gray middle.
import type { LabelClass } from "../api";

const ANCHORS: Record<string, string> = {
  viridis:
    "440154470d6048186a482475472e7c4538824241863e4c8a3a548c365d8d32658e2e6d8e2b758e287d8e25848e228c8d1f948c1e9c8920a38625ab822eb37c3aba7648c16e58c76569cd5b7fd34e93d741a8db34bddf26d5e21aeae51afde725",
  cividis:
    "00224e00285b002e6a0833701c396f293f6e33446d3d4a6c45506c4d556c555b6d5c616e6467706b6d72727274787877807f78888578908b78979177a09875a89e73b0a571b9ab6dc1b26acbb965d3c05fdcc859e5cf52efd748f8df3cfee838",
  magma:
    "0000040303120a0822140e361e11492a115c38106c47107854137d6018806d1d81792282882781942c80a1307eae347bbd3977ca3e72d6456ce24d66ec5860f3655cf8745cfb835ffd9266fea36ffeb27afec185fecf92fde0a1fceeb0fcfdbf",
  inferno:
    "0000040403120b0724160b39230c4c310a5c3e09664d0d6c5a116e67166e741a6e801f6c8f24699b2964a82e5fb43359c13a50cc4248d74b3fe05536e9612bef6e21f57b17f8890cfb9706fca80dfbb81df9c72ff6d746f2e865f3f586fcffa4",
  batlow: "0119590d315d114360175262226061356a594d734d677b3e8282319f892bbe9035db954bf19d6bfca890fdb4b4fcbfd6faccfa",
  tide: "0064970073ad0383c34391cd6aa0d189afd6a5bed9c1cddcdddddddec7bfdab3a4d59f89ce8b70c57858bc6440b15029a53c10",
};

export const PALETTES = Object.keys(ANCHORS);
export const DIVERGING = "tide";

/** Okabe and Ito 2008 without black, and five of P. Tol's that stay apart from them; the last is "other". */
const QUALITATIVE = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#0072b2", "#d55e00", "#aa4499", "#44aa99", "#999933", "#88ccee", "#cc6677"];
export const N_NAMED = QUALITATIVE.length;

export type Rgb = [number, number, number];

export function parseColor(hex: string): Rgb {
  const digits = hex.trim().replace("#", "");
  const long = digits.length === 3 ? [...digits].map((digit) => digit + digit).join("") : digits;
  const number = Number.parseInt(long.slice(0, 6), 16);
  return Number.isNaN(number) ? [128, 128, 128] : [number >> 16, (number >> 8) & 255, number & 255];
}

export function mix(a: Rgb, b: Rgb, part: number): Rgb {
  return [0, 1, 2].map((i) => Math.round(a[i] + (b[i] - a[i]) * part)) as Rgb;
}

export function css(color: ArrayLike<number>): string {
  return `rgb(${color[0]}, ${color[1]}, ${color[2]})`;
}

/** The palette as 256 RGBA pixels; an unknown name gives viridis. */
export function ramp(name: string, isReversed: boolean): Uint8Array {
  const text = ANCHORS[name] ?? ANCHORS.viridis;
  const anchors = Array.from({ length: text.length / 6 }, (_, i) => parseColor(text.slice(6 * i, 6 * i + 6)));
  const table = new Uint8Array(1024);
  for (let i = 0; i < 256; i++) {
    const place = ((isReversed ? 255 - i : i) / 255) * (anchors.length - 1);
    const before = Math.min(anchors.length - 2, Math.floor(place));
    table.set([...mix(anchors[before], anchors[before + 1], place - before), 255], 4 * i);
  }
  return table;
}

export interface Category {
  name: string;
  color: string;
  count: number;
  numbers: number[]; // of the texts that it stands for: one, or all that have no color of their own
}

/** The most frequent texts with a color each, and the others together in gray; label classes in the colors that they were given. */
export function categorize(values: Float32Array, texts: string[], classes: LabelClass[]): Category[] {
  const counts = new Uint32Array(texts.length);
  for (let row = 0; row < values.length; row++) if (values[row] >= 0) counts[values[row]]++;
  const byCount = [...texts.keys()].filter((number) => counts[number] > 0).sort((a, b) => counts[b] - counts[a] || (texts[a] < texts[b] ? -1 : 1));
  const given = new Map(classes.map((each) => [each.name, each.color]));
  const named = byCount.slice(0, byCount.length > N_NAMED ? N_NAMED : undefined);
  const categories = named.map((number, place) => ({
    name: texts[number],
    color: given.get(texts[number]) ?? QUALITATIVE[place % N_NAMED],
    count: counts[number],
    numbers: [number],
  }));
  const rest = byCount.slice(named.length);
  if (rest.length) categories.push({ name: `other (${rest.length})`, color: "#8b93a1", count: rest.reduce((sum, number) => sum + counts[number], 0), numbers: rest });
  return categories;
}

/** Of each row the place of its category, NaN where it has none. */
export function placesOf(values: Float32Array, texts: string[], categories: Category[]): Float32Array {
  const place = new Float32Array(texts.length).fill(Number.NaN);
  categories.forEach((category, at) => category.numbers.forEach((number) => (place[number] = at)));
  return values.map((value) => (value >= 0 ? place[value] : Number.NaN));
}

/** Colors of categories at the first places of a palette; its range is 0 to 255. */
export function rampOf(categories: Category[]): Uint8Array {
  const table = new Uint8Array(1024).fill(255);
  categories.forEach((category, at) => table.set(parseColor(category.color), 4 * at));
  return table;
}
