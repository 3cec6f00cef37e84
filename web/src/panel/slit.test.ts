import { describe, expect, test } from "vitest";
import { followUp, slitThrough } from "./slit";

describe("a slit through two points", () => {
  // The same as peculiar.spectra.targets.slit_through gives: tests/spectra/test_targets.py.
  test.each([
    [[0.5, 0.8], [0.5, 0.1], 0],
    [[0.8, 0.5], [0.1, 0.5], 90],
    [[0.1, 0.5], [0.8, 0.5], 90],
    [[0.8, 0.8], [0.2, 0.2], 45],
    [[0.2, 0.8], [0.8, 0.2], 135],
  ] as const)("from %j to %j lies at %d degrees", (one, other, angle) => {
    expect(slitThrough([...one], [...other], 96)?.angle).toBeCloseTo(angle, 6);
  });

  test("is in pixels whose first has its center at 0", () => {
    expect(slitThrough([0, 0], [1, 1], 96)?.through).toEqual([-0.5, -0.5, 95.5, 95.5]);
    expect(slitThrough([0.25, 0.5], [0.75, 0.5], 96)?.length).toBeCloseTo(48);
  });

  test("is none through one", () => expect(slitThrough([0.3, 0.3], [0.3, 0.3], 96)).toBeNull());

  test("is a command for the telescope's list", () => {
    const slit = slitThrough([0.25, 0.5], [0.75, 0.5], 96)!;
    expect(followUp("my-atlas", "43158859342174406", slit)).toBe("peculiar follow-up my-atlas --objects 43158859342174406 --through 23.5,47.5,71.5,47.5");
  });
});
