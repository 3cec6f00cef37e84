import { expect, test } from "vitest";
import { among, selecting, type Step } from "./explorer.svelte";

const triangle: [number, number][] = [
  [0, 0],
  [1.5, 0],
  [0, -2],
];

test("a selection is a filter that the server understands", () => {
  const steps: Step[] = [
    { how: "set", x: "map_x_a", y: "map_y_self-supervised", polygon: triangle },
    { how: "add", ids: ["43158859342174406", "-5"] },
    { how: "add", by: "note", texts: ['a "quoted" one', "b"] },
    { how: "subtract", x: "ra", y: "dec", polygon: triangle },
  ];
  expect(selecting(steps)).toBe(
    '(((inside(map_x_a, `map_y_self-supervised`, 0, 0, 1.5, 0, 0, -2) or object_id in (43158859342174406, -5)) or note in ("a ""quoted"" one", "b")) and not inside(ra, dec, 0, 0, 1.5, 0, 0, -2))',
  );
});

test("nothing selected is no filter, and taking from all is all but that", () => {
  expect(selecting([])).toBe("");
  expect(selecting([{ how: "subtract", ids: ["1"] }])).toBe("not object_id in (1)");
  expect(among([])).toBe("false");
});
