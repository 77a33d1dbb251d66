// Colours as CSS variables, so that one drawing serves a light and a dark page. The ramp is one hue from weak to strong
// against the page, for curves that differ by a number.

const light = {
  surface: "#ffffff",
  ink: "#1f2328",
  muted: "#59636e",
  line: "#d1d9e0",
  loss: "#2a78d6",
  rate: "#b45309",
  mark: "#1a7f5a",
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
  ramp: ["#2d5f9e", "#3b78c2", "#5091dd", "#6fa9ec", "#94c1f5", "#b9d7fa", "#dfedfe"],
};

/** CSS rules that set the colours on `selector`, for light and dark. */
export function colourRules(selector: string): string {
  return `${selector}{${variables(light)}}@media (prefers-color-scheme:dark){${selector}{${variables(dark)}}}`;
}

/** The colour of curve `index` of `count`, spread over the ramp. */
export function rampColour(index: number, count: number): string {
  const last = light.ramp.length - 1;
  return `var(--ramp-${count < 2 ? Math.ceil(last / 2) : Math.round((index * last) / (count - 1))})`;
}

function variables({ ramp, ...named }: typeof light): string {
  const pairs: [string, string][] = [
    ...Object.entries(named),
    ...ramp.map((colour, i): [string, string] => [`ramp-${i}`, colour]),
  ];
  return pairs.map(([name, colour]) => `--${name}:${colour}`).join(";");
}
