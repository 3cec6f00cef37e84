// The page's colors for what is drawn on a canvas, where CSS does not reach.
import { css, mix, parseColor, type Rgb } from "./palettes";

export interface Theme {
  ground: string;
  panel: string;
  ink: string;
  quiet: string;
  line: string;
  accent: string;
  select: string;
  without: Rgb; // points that have no value
  faint: Rgb; // points of no category: most have none
}

export function readTheme(): Theme {
  const style = getComputedStyle(document.documentElement);
  const color = (name: string) => css(parseColor(style.getPropertyValue(name)));
  const gray = (part: number) => mix(parseColor(style.getPropertyValue("--quiet")), parseColor(style.getPropertyValue("--ground")), part);
  return {
    ground: color("--ground"),
    panel: color("--panel"),
    ink: color("--ink"),
    quiet: color("--quiet"),
    line: color("--line"),
    accent: color("--accent"),
    select: color("--select"),
    without: gray(0.4),
    faint: gray(0.7),
  };
}

/** Hear of a change of theme; the answer ends it. */
export function onTheme(changed: () => void): () => void {
  const observer = new MutationObserver(changed);
  observer.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  return () => observer.disconnect();
}
