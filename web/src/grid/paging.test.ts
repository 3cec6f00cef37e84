import { describe, expect, it } from "vitest";
import type { ColumnInfo } from "../api";
import { defaultColumns, formatValue, scoresFirst } from "./columns";
import { byObject, PAGE, pagesFor, rowsIn } from "./paging";

const infoOf = (name: string): ColumnInfo => ({ name, kind: "number", unit: "", description: "" });

describe("paging", () => {
  it("says which rows are in view at the end of a million", () => {
    const n = 1_000_000;
    expect(rowsIn(n * 38 - 760, 760, 38, n)).toEqual([n - 20, n]);
    expect(rowsIn(0, 760, 38, 5)).toEqual([0, 5]);
    expect(rowsIn(19, 38, 38, n)).toEqual([0, 2]);
    expect(rowsIn(0, 760, 38, 0)).toEqual([0, 0]);
  });

  it("asks for the pages in view, then for the next one in the way", () => {
    expect(pagesFor(40, 60, 1000)).toEqual([0]);
    expect(pagesFor(80, 95, 1000)).toEqual([0, 1]);
    expect(pagesFor(95, 130, 1000)).toEqual([1, 0]);
    expect(pagesFor(205, 225, 1000)).toEqual([2, 1]);
    expect(pagesFor(985, 1000, 1000)).toEqual([9]);
    expect(pagesFor(0, 0, 0)).toEqual([]);
    expect(pagesFor(0, 40 * PAGE, 1_000_000).length).toBe(41);
  });

  it("matches values to objects by id, in whatever order they come", () => {
    const page = { columns: ["object_id", "score"], rows: [["12345678901234567", 2], ["3", null]] };
    expect(byObject(page, ["3", "12345678901234567", "9"])).toEqual([[null], [2], null]);
  });
});

describe("columns", () => {
  const infos = ["ra", "dec", "petro_r", "score_gen", "score_gen_sigma", "score_anom", "score_disc", "score_joint", "score_joint_percentile"].map(infoOf);

  it("put the first-shown score first, then scores, then the rest", () => {
    const { scores, others } = scoresFirst(infos, "score_joint");
    expect(scores[0]!.name).toBe("score_joint");
    expect(scores.length).toBe(6);
    expect(others.map((info) => info.name)).toEqual(["ra", "dec", "petro_r"]);
  });

  it("show the first-shown score, its percentile, three raw scores and the place", () => {
    expect(defaultColumns(infos, "score_joint")).toEqual(["score_joint", "score_joint_percentile", "score_gen", "score_anom", "score_disc", "ra", "dec"]);
    expect(defaultColumns([infoOf("petro_r")], "score_joint")).toEqual([]);
  });

  it("write numbers with what counts of them", () => {
    const of = (value: number | string | null, name = "flux") => formatValue(value, infoOf(name));
    expect([of(187.5, "ra"), of(-0.25, "dec")]).toEqual(["187.500000", "-0.250000"]);
    expect([of(null), of(Number.NaN)]).toEqual(["–", "–"]);
    expect([of(12), of(0), of(-3.14159), of(1234.5678), of(0.00123456)]).toEqual(["12", "0", "-3.142", "1235", "0.001235"]);
    expect([of(1.5e-7), of(2.5e9 + 0.5)]).toEqual(["1.500e-7", "2.500e+9"]);
    expect(of("spiral")).toBe("spiral");
  });
});
