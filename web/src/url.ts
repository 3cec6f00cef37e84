// The state of the page in its address: what is shown, and how it was selected. Versions apart from this one are not read.
import type { Explorer, Step } from "./explorer.svelte";

const VERSION = 1;

interface Shared {
  v: number;
  digest: string;
  map: Explorer["map"];
  coloring: Explorer["coloring"];
  order: Explorer["order"];
  look: Explorer["look"];
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

/** What an address says; null where it says nothing that this page understands. */
export function read(hash: string): Shared | null {
  if (hash.length < 3) return null;
  try {
    const shared = JSON.parse(decodeURIComponent(hash.slice(1))) as Shared;
    return shared.v === VERSION ? shared : null;
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
  if (known(shared.map?.x) && known(shared.map?.y)) explorer.map = { x: shared.map.x, y: shared.map.y };
  if (shared.coloring && (shared.coloring.by === "" || known(shared.coloring.by))) explorer.coloring = { ...explorer.coloring, ...shared.coloring };
  if (shared.order && (shared.order.by === "" || known(shared.order.by))) explorer.order = { ...explorer.order, ...shared.order };
  explorer.look = { ...explorer.look, ...shared.look };
  if (shared.size >= 8 && shared.size <= 2000) explorer.size = shared.size;
  for (const step of shared.steps ?? []) {
    if ("ids" in step || ("by" in step ? known(step.by) : known(step.x) && known(step.y))) await explorer.select(step);
  }
  if (shared.focus) {
    const [row] = await explorer.rowsOf([shared.focus]);
    if (row >= 0) explorer.focus = row;
    else missing.push(shared.focus);
  }
  return missing;
}
