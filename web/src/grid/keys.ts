// What keys mean in the wall.

export type Command =
  | { does: "walk"; by: number; isPage: boolean; isExtending: boolean }
  | { does: "first" | "last"; isExtending: boolean }
  | { does: "open" | "toggle" | "unmark" | "mark view" | "closer" | "fit" }
  | { does: "zoom"; factor: number };

/** The command of a key, null where it has none. `columns` is a row of the wall, `page` as many images as a view holds. */
export function commandOf(event: KeyboardEvent, columns: number, page: number): Command | null {
  const { key, shiftKey: isExtending } = event;
  if (event.altKey) return null;
  if (event.ctrlKey || event.metaKey) return key.toLowerCase() === "a" ? { does: "mark view" } : null;
  switch (key.length === 1 ? key.toLowerCase() : key) {
    case "ArrowLeft": case "a": return { does: "walk", by: -1, isPage: false, isExtending };
    case "ArrowRight": case "d": return { does: "walk", by: 1, isPage: false, isExtending };
    case "ArrowUp": case "w": return { does: "walk", by: -columns, isPage: false, isExtending };
    case "ArrowDown": case "s": return { does: "walk", by: columns, isPage: false, isExtending };
    case "PageUp": return { does: "walk", by: -page, isPage: true, isExtending };
    case "PageDown": return { does: "walk", by: page, isPage: true, isExtending };
    case "Home": return { does: "first", isExtending };
    case "End": return { does: "last", isExtending };
    case "Enter": return { does: "open" };
    case " ": return { does: "toggle" };
    case "Escape": return { does: "unmark" };
    case "+": case "=": return { does: "zoom", factor: 1.25 };
    case "-": case "_": return { does: "zoom", factor: 0.8 };
    case "z": return { does: "closer" };
    case "r": return { does: "fit" };
    default: return null;
  }
}
