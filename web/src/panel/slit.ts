// A slit through two points of a picture, as `peculiar follow-up --through` takes it.

export type Point = [number, number]; // 0 to 1 from the picture's upper left

export interface Slit {
  through: [number, number, number, number]; // pixels, the center of the first is 0
  angle: number; // degrees, north through east, where north is up and east left
  length: number; // between the points, pixels
}

export function slitThrough(one: Point, other: Point, size: number): Slit | null {
  const [x1, y1, x2, y2] = [...one, ...other].map((each) => Math.round((each * size - 0.5) * 10) / 10) as Slit["through"];
  if (x1 === x2 && y1 === y2) return null;
  const angle = (Math.atan2(x1 - x2, y1 - y2) * 180) / Math.PI; // east is left, north is up
  return { through: [x1, y1, x2, y2], angle: (angle + 180) % 180, length: Math.hypot(x2 - x1, y2 - y1) };
}

export function followUp(atlas: string, id: string, slit: Slit): string {
  return `peculiar follow-up ${atlas} --objects ${id} --through ${slit.through.join(",")}`;
}
