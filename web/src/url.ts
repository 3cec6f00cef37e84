// The state of the page in its address: what is shown, and how it was selected. Versions apart from this one are not read.
import type { Explorer, Step } from "./explorer.svelte";
import { PALETTES } from "./map/palettes";

const VERSION = 1;

interface Shared {
  v: number;
  digest: string;
  map: Explorer["map"];
  coloring: Partial<Explorer["coloring"]>;
  order: Partial<Explorer["order"]>;
  look: Partial<Explorer["look"]>;
  size: number;
  steps: Step[];
  focus: string; // object_id, empty for none
  view: string;
}

export function written(explorer: Explorer, view: string): string {
  const shared: Shared = {
    v: VERSION,
    digest: explorer.digest,
    map: explorer.map,
    coloring: explorer.coloring,
    order: explorer.order,
    look: explorer.look,
    size: Math.round(explorer.size),
    steps: explorer.steps,
    focus: explorer.focus >= 0 ? explorer.idOf(explorer.focus) : "",
    view,
  };
  return `#${encodeURIComponent(JSON.stringify(shared))}`;
}

type Checks<T> = { [Name in keyof T]: (value: unknown) => boolean };

const isText = (value: unknown): boolean => typeof value === "string";
const isNumber = (value: unknown): boolean => typeof value === "number" && Number.isFinite(value);
const isWhole = (value: unknown): boolean => Number.isInteger(value) && (value as number) >= 0;
const isTruth = (value: unknown): boolean => typeof value === "boolean";
const isOneOf = (...all: string[]) => (value: unknown): boolean => all.includes(value as string);
const isListOf = (is: (value: unknown) => boolean) => (value: unknown): boolean => Array.isArray(value) && value.every(is);
const isEnd = (value: unknown): boolean => value === null || isNumber(value);
const isCorner = (value: unknown): boolean => isListOf(isNumber)(value) && (value as number[]).length === 2;
const isId = (value: unknown): boolean => isText(value) && /^-?\d{1,19}$/.test(value as string);

const MAP: Checks<Explorer["map"]> = { x: isText, y: isText };
const COLORING: Checks<Explorer["coloring"]> = { by: isText, palette: isOneOf(...PALETTES), isReversed: isTruth, low: isEnd, high: isEnd, overlap: isOneOf("mean", "highest", "count") };
const ORDER: Checks<Explorer["order"]> = { by: isText, descending: isTruth, where: isText, sample: isWhole, seed: isWhole };
const LOOK: Checks<Explorer["look"]> = {
  part: isOneOf("image", "reconstruction", "residual", "triple"),
  stretch: (value) => isNumber(value) && (value as number) >= 0.1 && (value as number) <= 10,
  invert: isTruth,
  channels: isOneOf("rgb", "rg", "rb", "gb", "r", "g", "b"),
};

/** The fields of something that came in an address, those alone that are what they must be. */
function fields<T>(found: unknown, checks: Checks<T>): Partial<T> {
  if (typeof found !== "object" || found === null) return {};
  const named = Object.entries(found).filter(([name, value]) => Object.hasOwn(checks, name) && checks[name as keyof T](value));
  return Object.fromEntries(named) as Partial<T>;
}

function isStep(found: unknown): found is Step {
  const how = isOneOf("set", "add", "subtract");
  const kinds: Record<string, (value: unknown) => boolean>[] = [
    { how, ids: isListOf(isId) },
    { how, by: isText, texts: isListOf(isText) },
    { how, x: isText, y: isText, polygon: isListOf(isCorner) },
  ];
  return kinds.some((checks) => Object.keys(fields(found, checks)).length === Object.keys(checks).length);
}

/** What an address says, without what makes no sense: whoever made it may mean ill. Null where it says nothing that this page understands. */
export function read(hash: string): Shared | null {
  if (hash.length < 3) return null;
  try {
    const found = JSON.parse(decodeURIComponent(hash.slice(1))) as Record<string, unknown> | null;
    if (found?.v !== VERSION) return null;
    return {
      v: VERSION,
      digest: isText(found.digest) ? (found.digest as string) : "",
      map: { x: "", y: "", ...fields(found.map, MAP) },
      coloring: fields(found.coloring, COLORING),
      order: fields(found.order, ORDER),
      look: fields(found.look, LOOK),
      size: isNumber(found.size) ? (found.size as number) : 0,
      steps: Array.isArray(found.steps) ? found.steps.filter(isStep) : [],
      focus: isId(found.focus) ? (found.focus as string) : "",
      view: found.view === "labels" ? "labels" : "explore",
    };
  } catch {
    return null;
  }
}

/** Bring the page to where an address says, as far as this atlas has it; what it does not have is returned. */
export async function apply(explorer: Explorer, shared: Shared): Promise<string[]> {
  const missing: string[] = [];
  const known = (name: string) => {
    const isKnown = explorer.infos.has(name);
    if (!isKnown && name) missing.push(name);
    return isKnown;
  };
  if (known(shared.map.x) && known(shared.map.y)) explorer.map = { x: shared.map.x, y: shared.map.y };
  if (!shared.coloring.by || known(shared.coloring.by)) explorer.coloring = { ...explorer.coloring, ...shared.coloring };
  if (!shared.order.by || known(shared.order.by)) explorer.order = { ...explorer.order, ...shared.order };
  explorer.look = { ...explorer.look, ...shared.look };
  if (shared.size >= 8 && shared.size <= 2000) explorer.size = shared.size;
  const isCategory = (name: string) => known(name) && explorer.infos.get(name)!.kind !== "number";
  for (const step of shared.steps) {
    if ("ids" in step || ("by" in step ? isCategory(step.by) : known(step.x) && known(step.y))) await explorer.select(step);
  }
  if (shared.focus) {
    const [row] = await explorer.rowsOf([shared.focus]);
    if (row >= 0) explorer.focus = row;
    else missing.push(shared.focus);
  }
  return missing;
}
