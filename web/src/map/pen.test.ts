import { expect, test } from "vitest";
import { fit } from "./camera";
import { drawLegend, LEGEND_WIDTH, type LegendState } from "./legend";
import { drawOverlay } from "./overlay";
import { parseColor, ramp } from "./palettes";
import { escaped, svgPen } from "./pen";
import { isSoftware } from "./renderer";
import { sizeOf, withoutOverlap } from "./thumbnails";
import { random, viewOf } from "./helper";

const theme = { ground: "#000", panel: "#111", ink: "#fff", quiet: "#999", line: "#333", accent: "#f90", select: "#0ff", without: parseColor("#888"), faint: parseColor("#444") };

test("text in an SVG cannot leave its place", () => {
  expect(escaped('<a href="x">&\u0000')).toBe("&lt;a href=&quot;x&quot;&gt;&amp;");
  const pen = svgPen(100, 50, "a <b> & c", () => "data:,");
  pen.text(1, 2, '</text><script>alert("1")</script>', { fill: '"red', size: 11 });
  const svg = pen.done();
  expect(svg).not.toContain("<script");
  expect(svg).toContain("<title>a &lt;b&gt; &amp; c</title>");
  expect(svg).toContain('fill="&quot;red"');
});

test("a picture has axes, rings, the focus and the legend as lines and letters", () => {
  const pen = svgPen(400, 300, "t", () => "data:,");
  const camera = fit({ left: 0, right: 10, bottom: 0, top: 5 }, 300, 200, false);
  const view = viewOf({ camera, width: 300, height: 200, size: 4 });
  const rings = [{ row: 0, x: 1, y: 1, color: "rgb(1, 2, 3)", opacity: 1 }, { row: 1, x: 1e9, y: 1, color: "rgb(9, 9, 9)", opacity: 1 }];
  drawOverlay(pen, view, theme, { axes: { x: "redshift", y: "radius (px)" }, rings, thumbnails: null, focus: { x: 2, y: 2 }, drawing: [], isBox: false });
  const legend: LegendState = {
    kind: "number", title: "score_anom", unit: "", overlap: "highest", palette: ramp("viridis", false), sorted: Float32Array.of(0, 1, 2), domain: { low: 0, high: 2 },
    range: { low: 0.5, high: 1.5 }, isRangeOwn: false, categories: [], nFull: 1, nDrawn: 3, nWithout: 1234, nNowhere: 2,
  };
  drawLegend(pen, 320 - LEGEND_WIDTH / 2, 10, theme, legend);
  const svg = pen.done();
  for (const text of [">redshift<", ">radius (px)<", ">score_anom<", "highest in a pixel wins", "1,234 without a value (gray)", "2 not on this map", "rgb(1, 2, 3)"]) expect(svg).toContain(text);
  expect(svg).not.toContain("rgb(9, 9, 9)"); // out of view
  expect(svg).not.toContain("NaN");
});

test("images do not overlap, and the first of the order has its place", () => {
  const next = random(4);
  const n = 500;
  const [x, y] = [Float32Array.from({ length: n }, () => 800 * next()), Float32Array.from({ length: n }, () => 600 * next())];
  const view = viewOf({ camera: { x: 400, y: 300, kx: 1, ky: 1 }, width: 800, height: 600 });
  const order = Array.from({ length: n }, (_, i) => (i * 7) % n);
  const kept = withoutOverlap(order, x, y, view, 60, 40);
  expect(kept[0]).toBe(0);
  const touch = (a: number, b: number) => Math.abs(x[a] - x[b]) < 60 && Math.abs(y[a] - y[b]) < 40;
  kept.forEach((a, i) => kept.slice(i + 1).forEach((b) => expect(touch(a, b)).toBe(false)));
  for (const row of order) if (!kept.includes(row)) expect(kept.some((each) => touch(each, row))).toBe(true);
});

test("a sheet is never larger than the server makes it", () => {
  for (let n = 1; n <= 400; n++) {
    for (const isTriple of [true, false]) {
      const columns = Math.ceil(Math.sqrt(n));
      const size = sizeOf(n, 96, 2, isTriple);
      expect(size).toBeGreaterThanOrEqual(32);
      expect(columns * Math.ceil(n / columns) * size * size * (isTriple ? 3 : 1)).toBeLessThanOrEqual(4_194_304);
    }
  }
  expect(sizeOf(20, 64, 1, false)).toBe(64);
});

test("a graphics card that is none is known by its name", () => {
  expect(isSoftware("ANGLE (Google, Vulkan 1.3.0 (SwiftShader Device (Subzero)), SwiftShader driver)")).toBe(true);
  expect(isSoftware("llvmpipe (LLVM 15.0.7, 256 bits)")).toBe(true);
  expect(isSoftware("ANGLE (NVIDIA, NVIDIA GeForce RTX 3060)")).toBe(false);
});
