import { expect, test } from "vitest";
import { NAN } from "./helper";
import { categorize, css, DIVERGING, mix, N_NAMED, PALETTES, parseColor, placesOf, ramp, rampOf } from "./palettes";

function lightness(table: Uint8Array, at: number): number {
  const linear = [0, 1, 2].map((i) => table[4 * at + i] / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  const y = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return y > 0.008856 ? 116 * Math.cbrt(y) - 16 : 903.3 * y;
}

test("matplotlib's palettes are matplotlib's, at ends and middle", () => {
  const known = { viridis: ["440154", "21918c", "fde725"], cividis: ["00224e", "7c7b78", "fee838"], magma: ["000004", "b73779", "fcfdbf"], inferno: ["000004", "bc3754", "fcffa4"] };
  for (const [name, colors] of Object.entries(known)) {
    const table = ramp(name, false);
    [0, 128, 255].forEach((at, i) => {
      parseColor(colors[i]).forEach((part, channel) => expect(Math.abs(table[4 * at + channel] - part)).toBeLessThanOrEqual(2));
    });
  }
});

test("lightness rises without a dent, and on the diverging one to the middle and falls alike", () => {
  for (const name of PALETTES) {
    const table = ramp(name, false);
    const light = Array.from({ length: 256 }, (_, i) => lightness(table, i));
    for (let i = 1; i < 256; i++) {
      const rises = name !== DIVERGING || i < 128;
      expect((light[i] - light[i - 1]) * (rises ? 1 : -1)).toBeGreaterThan(-0.35);
    }
    if (name === DIVERGING) for (let i = 0; i < 128; i++) expect(Math.abs(light[i] - light[255 - i])).toBeLessThan(1.5);
    else expect(light[255] - light[0]).toBeGreaterThan(70);
  }
});

test("a reversed palette is the same, backwards; an unknown one is viridis", () => {
  const [there, back] = [ramp("magma", false), ramp("magma", true)];
  for (let i = 0; i < 256; i++) expect([...there.subarray(4 * i, 4 * i + 4)]).toEqual([...back.subarray(4 * (255 - i), 4 * (255 - i) + 4)]);
  expect(ramp("nothing", false)).toEqual(ramp("viridis", false));
});

test("colors are read and mixed", () => {
  expect(parseColor(" #0af")).toEqual([0, 170, 255]);
  expect(parseColor("no color")).toEqual([128, 128, 128]);
  expect(css(mix([0, 0, 0], [200, 100, 50], 0.5))).toBe("rgb(100, 50, 25)");
});

test("twelve categories have a color, the most frequent first, and the others share one", () => {
  const texts = Array.from({ length: 15 }, (_, i) => `c${i}`);
  const values = Float32Array.from(texts.flatMap((_, i) => Array.from({ length: i + 1 }, () => i)).concat(-1, -1));
  const categories = categorize(values, texts, []);
  expect(categories).toHaveLength(N_NAMED + 1);
  expect(categories[0]).toMatchObject({ name: "c14", count: 15 });
  expect(categories[N_NAMED]).toMatchObject({ name: "other (3)", count: 1 + 2 + 3 });
  expect(new Set(categories.map((each) => each.color)).size).toBe(N_NAMED + 1);
  const places = placesOf(values, texts, categories);
  expect(places[0]).toBe(N_NAMED);
  expect(places[places.length - 3]).toBe(0);
  expect(places[places.length - 1]).toEqual(NAN);
  expect([...rampOf(categories).subarray(0, 3)]).toEqual(parseColor(categories[0].color));
});

test("label classes keep the colors that they were given", () => {
  const classes = [{ name: "ring", color: "#123456", key: "1", description: "" }];
  expect(categorize(Float32Array.of(0, 1, 1), ["ring", "merger"], classes).map((each) => each.color)).toEqual(["#56b4e9", "#123456"]);
});
