import { expect, test } from "vitest";
import { NAN } from "./helper";
import { domainOf, histogram, percentile, percentileRange, sampled, written } from "./range";

const hundred = Float32Array.from({ length: 101 }, (_, i) => i);

test("percentiles are linear between values", () => {
  expect(percentile(hundred, 1)).toBeCloseTo(1, 6);
  expect(percentile(Float32Array.of(0, 10), 25)).toBeCloseTo(2.5, 6);
  expect(percentile(new Float32Array(0), 50)).toBeNaN();
  expect(percentileRange(hundred)).toEqual({ low: 1, high: 99 });
});

test("a range is never empty", () => {
  expect(percentileRange(new Float32Array(0))).toEqual({ low: 0, high: 1 });
  const { low, high } = percentileRange(Float32Array.of(7, 7, 7));
  expect(low).toBeLessThan(7);
  expect(high).toBeGreaterThan(7);
});

test("a sample has no NaN, is sorted, and is no larger than it must be", () => {
  expect([...sampled(Float32Array.of(3, NAN, 1, Infinity, 2))]).toEqual([1, 2, 3]);
  expect([...sampled(Float32Array.of(3, 9, 1), Uint32Array.of(0, 2))]).toEqual([1, 3]);
  const many = sampled(Float32Array.from({ length: 1_000_000 }, (_, i) => 1_000_000 - i));
  expect(many.length).toBeLessThanOrEqual(100_000);
  expect(percentile(many, 50) / 500_000).toBeCloseTo(1, 3);
});

test("a far outlier does not take the legend for itself", () => {
  const values = Float32Array.from({ length: 1000 }, (_, i) => (i === 999 ? 1e6 : i));
  expect(domainOf(values).high).toBeLessThan(2100);
  expect(domainOf(hundred)).toEqual({ low: 0, high: 100 });
});

test("bars are logarithms of counts", () => {
  const bars = histogram(Float32Array.of(0, 0, 0, 0.9, 1), { low: 0, high: 1 }, 2);
  expect(bars[0]).toBe(1);
  expect(bars[1]).toBeCloseTo(Math.log(3) / Math.log(4), 6);
  expect([...histogram(new Float32Array(0), { low: 0, high: 1 }, 2)]).toEqual([0, 0]);
});

test("numbers are as short as their neighbors allow", () => {
  expect(written(1234.567, 1000)).toBe("1,235");
  expect(written(0.12345, 0.1)).toBe("0.123");
  expect(written(-2.5, 1)).toBe("−2.5");
  expect(written(3.2e-7)).toBe("3.2e−7");
  expect(written(0)).toBe("0");
  expect(written(NAN)).toBe("none");
});
