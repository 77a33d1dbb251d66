// Colors are CSS variables, so that a figure works on a light and a dark page. `ramp` is one hue from weak to strong, for
// ordered curves. `series` is for curves that differ only by name. Any two of them also differ for readers with
// protanopia, deuteranopia or tritanopia: by more than 11 in CIELAB, as test/report/series.test.ts computes.

const light = {
  surface: "#ffffff",
  ink: "#1f2328",
  muted: "#59636e",
  line: "#d1d9e0",
  loss: "#2a78d6",
  rate: "#b45309",
  mark: "#1a7f5a",
  bad: "#c2255c",
  warn: "#9a5b00",
  series: ["#2a78d6", "#d9600f", "#0b6b4f", "#6f2dbd", "#d65a9e", "#3399c4", "#5e5a00", "#202830"],
  ramp: ["#8fbcf0", "#63a1e8", "#3b86dc", "#2269bd", "#195099", "#123a73", "#0b264e"],
};

const dark: typeof light = {
  surface: "#0f1318",
  ink: "#e6edf3",
  muted: "#9aa5b1",
  line: "#30363d",
  loss: "#6cb0ff",
  rate: "#f0a45d",
  mark: "#4cc798",
  bad: "#ff8fab",
  warn: "#f0b45d",
  series: ["#6cb0ff", "#f0883e", "#2fa37c", "#9a6bff", "#f79ac8", "#9ee3ee", "#e3d34f", "#8b6f5c"],
  ramp: ["#2d5f9e", "#3b78c2", "#5091dd", "#6fa9ec", "#94c1f5", "#b9d7fa", "#dfedfe"],
};

/** Returns CSS rules that set the colors on `selector`, for light and dark. */
export function colorRules(selector: string): string {
  return `${selector}{${variables(light)}}@media (prefers-color-scheme:dark){${selector}{${variables(dark)}}}`;
}

/**
 * Returns the color of curve `index` of `count`, spread over the ramp.
 * @param first position on the ramp of the first curve; thin or dotted curves need more contrast than the weakest colors
 */
export function rampColor(index: number, count: number, first = 0): string {
  const last = light.ramp.length - 1;
  return `var(--ramp-${count < 2 ? Math.ceil(last / 2) : Math.round(first + (index * (last - first)) / (count - 1))})`;
}

/** Returns the color of a curve that differs from others by name. If there are more curves than colors, they repeat. */
export function seriesColor(index: number): string {
  return `var(--series-${index % light.series.length})`;
}

function variables({ ramp, series, ...named }: typeof light): string {
  const numbered = (name: string, colors: readonly string[]) =>
    colors.map((color, i): [string, string] => [`${name}-${i}`, color]);
  const pairs = [...Object.entries(named), ...numbered("ramp", ramp), ...numbered("series", series)];
  return pairs.map(([name, color]) => `--${name}:${color}`).join(";");
}
