import { describe, expect, it } from "vitest";
import { commandOf } from "./keys";

const press = (key: string, changes: Partial<KeyboardEvent> = {}) => commandOf({ key, shiftKey: false, altKey: false, ctrlKey: false, metaKey: false, ...changes } as KeyboardEvent, 14, 98);

describe("keys", () => {
  it("walk by arrows and by w a s d, with Shift extending", () => {
    expect(press("ArrowDown")).toEqual({ does: "walk", by: 14, isPage: false, isExtending: false });
    expect(press("s")).toEqual(press("ArrowDown"));
    expect(press("A", { shiftKey: true })).toEqual({ does: "walk", by: -1, isPage: false, isExtending: true });
    expect(press("PageUp")).toEqual({ does: "walk", by: -98, isPage: true, isExtending: false });
  });

  it("leave the browser's own keys and the labels' keys alone", () => {
    expect(press("s", { ctrlKey: true })).toBeNull();
    expect(press("ArrowLeft", { altKey: true })).toBeNull();
    for (const key of ["0", "5", "9", "c", "u", "t", "n", "h", "f", "Tab", "F5"]) expect(press(key)).toBeNull();
    expect(press("a", { ctrlKey: true })).toEqual({ does: "mark view" });
    expect(press("a", { metaKey: true })).toEqual({ does: "mark view" });
  });
});
