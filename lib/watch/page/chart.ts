import uPlot from "uplot";
import { headingOf } from "../../report/labels.js";
import { make, setText, tableParts } from "./dom.js";
import { compact, count, duration, number } from "./format.js";
import { type Look, resolved } from "./palette.js";

/** A curve of a chart. Both arrays of a line have the same length, and `x` ascends. */
export interface Line {
  readonly label: string;
  readonly look: Look;
  readonly x: readonly number[];
  readonly y: readonly number[];
  /** The values before smoothing, drawn faintly. */
  readonly raw?: readonly number[] | undefined;
  /** The range of values that each point stands for. */
  readonly range?: { readonly min: readonly number[]; readonly max: readonly number[] } | undefined;
}

/** A part of the horizontal axis. */
export interface Zoom {
  readonly from: number;
  readonly to: number;
}

/** How all charts are drawn. */
export interface ChartView {
  readonly axis: "step" | "time";
  readonly log: boolean;
  readonly zoom: Zoom | undefined;
}

/** What a chart shows. */
export interface ChartOptions {
  /** Key of the chart's quantity; see `labelOf`. */
  readonly title: string;
  /** Formats a value; default with four digits. */
  readonly format?: ((value: number) => string) | undefined;
  /** Formats a tick of the axis; default as a value. */
  readonly formatTick?: ((value: number) => string) | undefined;
  /** Whether the log scale makes sense for it. */
  readonly mayLog?: boolean | undefined;
  /** Whether each point has a dot, for curves of few points. */
  readonly dots?: boolean | undefined;
  readonly onZoom?: ((zoom: Zoom | undefined) => void) | undefined;
}

/** More lines get neither raw values nor ranges, which would hide each other. */
const maxDetailed = 4;

/** Label of the line at the pointer. The other charts show the same run. */
let pointedAt = "";

/** A figure with curves, a line of text with the value at the pointer, and a table with the main values. */
export class Chart {
  readonly root: HTMLElement;
  readonly #options: ChartOptions;
  readonly #plot = make("div", { class: "plot" });
  readonly #readout = make("span", { class: "readout" });
  readonly #table = make("table");
  readonly #details: HTMLDetailsElement;
  #lines: readonly Line[] = [];
  #view: ChartView = { axis: "step", log: false, zoom: undefined };
  #drawn: uPlot | undefined;
  #key = "";

  constructor(options: ChartOptions) {
    this.#options = options;
    this.#details = make(
      "details",
      {},
      make("summary", {}, "Values as a table"),
      make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${this.title}: values` }, this.#table),
    );
    this.#details.addEventListener("toggle", () => this.#fillTable());
    this.#plot.setAttribute("role", "img");
    this.root = make(
      "figure",
      { class: "figure" },
      make("figcaption", {}, make("h3", {}, this.title), this.#readout),
      this.#plot,
      this.#details,
    );
    new ResizeObserver(() => this.#drawn?.setSize(this.#size())).observe(this.#plot);
  }

  get title(): string {
    return headingOf(this.#options.title);
  }

  /** Draws lines in place of those of before. */
  draw(lines: readonly Line[], view: ChartView): void {
    const log = view.log && this.#options.mayLog === true && lines.some(({ y }) => y.some((value) => value > 0));
    this.#lines = lines;
    this.#view = { ...view, log };
    const isDetailed = lines.length <= maxDetailed;
    const data = dataOf(lines, { isDetailed, log });
    const looks = lines.map(({ look, label }) => [label, look.color, look.dash]);
    const key = JSON.stringify([looks, view.axis, log, isDetailed]);
    this.#plot.setAttribute("aria-label", this.#summary());
    if (this.#drawn && key === this.#key) this.#drawn.setData(data);
    else {
      this.#drawn?.destroy();
      this.#key = key;
      this.#drawn = new uPlot(this.#plotOptions(isDetailed), data, this.#plot);
    }
    this.#fillTable();
  }

  /** Draws with the present colors. */
  recolor(): void {
    this.#key = "";
    this.draw(this.#lines, this.#view);
  }

  destroy(): void {
    this.#drawn?.destroy();
    this.root.remove();
  }

  #size(): { width: number; height: number } {
    return { width: Math.max(120, this.#plot.clientWidth), height: Math.max(120, this.#plot.clientHeight) };
  }

  #format(value: number): string {
    return (this.#options.format ?? number)(value);
  }

  #formatX(value: number): string {
    return this.#view.axis === "time" ? duration(value) : count(value);
  }

  #plotOptions(isDetailed: boolean): uPlot.Options {
    const ink = resolved("var(--muted)");
    const grid = { stroke: resolved("var(--line)"), width: 1 };
    const font = "12px system-ui, sans-serif";
    const axis = { stroke: ink, font, ticks: { show: false }, grid };
    const isTime = this.#view.axis === "time";
    return {
      ...this.#size(),
      padding: [8, 12, 0, 0],
      legend: { show: false },
      cursor: {
        drag: { x: true, y: false, setScale: false },
        points: { show: false },
        y: false,
        sync: { key: "charts", scales: ["x", null] },
        bind: { dblclick: () => () => this.#zoom(undefined) },
      },
      scales: {
        x: { time: false, range: (_, min, max) => this.#rangeX(min, max) },
        y: this.#view.log ? { distr: 3, range: (_, min, max) => [(min ?? 1) / 1.1, (max ?? 1) * 1.1] } : {},
      },
      axes: [
        {
          ...axis,
          size: 28,
          gap: 6,
          space: 70,
          grid: { show: false },
          values: (_, values) => values.map((value) => (isTime ? duration(value) : compact(value))),
        },
        {
          ...axis,
          size: 62,
          gap: 6,
          space: 34,
          values: (_, values) =>
            values.map((value) => (this.#options.formatTick ?? this.#options.format ?? number)(value)),
          ...(this.#view.log && {
            splits: (_, __, min, max) => logTicks(min, max),
            // uPlot would leave out some of these.
            filter: (_, splits) => splits,
          }),
        },
      ],
      series: [{}, ...this.#lines.flatMap((line) => this.#seriesOf(line, isDetailed))],
      ...(isDetailed && { bands: this.#lines.flatMap((line, i) => bandOf(line, i)) }),
      hooks: {
        setSelect: [(plot) => this.#select(plot)],
        setCursor: [(plot) => setText(this.#readout, this.#reading(plot, isDetailed))],
      },
    };
  }

  #rangeX(min: number, max: number): uPlot.Range.MinMax {
    if (this.#view.zoom) return [this.#view.zoom.from, this.#view.zoom.to];
    const first = this.#view.axis === "time" ? 0 : Math.min(0, min ?? 0);
    return [first, Math.max(max ?? 1, first + 1)];
  }

  #seriesOf({ look }: Line, isDetailed: boolean): uPlot.Series[] {
    const stroke = resolved(look.color);
    const dots = this.#options.dots === true;
    const main: uPlot.Series = {
      stroke,
      width: 2,
      dash: [...look.dash],
      points: { show: dots, size: 6, fill: stroke },
      spanGaps: true,
    };
    if (!isDetailed) return [main];
    const faint: uPlot.Series = {
      stroke: transparent(stroke, 0.35),
      width: 1,
      points: { show: false },
      spanGaps: true,
    };
    const edge: uPlot.Series = { points: { show: false }, spanGaps: true };
    return [main, faint, edge, edge];
  }

  #select(plot: uPlot): void {
    const { left, width } = plot.select;
    if (width > 4) this.#zoom({ from: plot.posToVal(left, "x"), to: plot.posToVal(left + width, "x") });
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  }

  /** Asks for another part of the axis. Returns null, as uPlot expects of a listener. */
  #zoom(zoom: Zoom | undefined): null {
    const round = (value: number) => (this.#view.axis === "step" ? Math.round(value) : value);
    const [from, to] = [Math.max(0, round(zoom?.from ?? 0)), round(zoom?.to ?? 0)];
    // Half a step cannot be shown.
    if (zoom === undefined || to > from) this.#options.onZoom?.(zoom && { from, to });
    return null;
  }

  /** The value of the line that is nearest to the pointer, in words; empty if the pointer is elsewhere. */
  #reading(plot: uPlot, isDetailed: boolean): string {
    const { left = -1, top = -1 } = plot.cursor;
    if (left < 0) return "";
    const x = plot.posToVal(left, "x");
    const perLine = isDetailed ? 4 : 1;
    let nearest: { distance: number; line: Line; x: number; y: number } | undefined;
    // In a chart that only follows the pointer over another one, the vertical position means nothing.
    const isOver = plot.over.matches(":hover");
    for (const [i, line] of this.#lines.entries()) {
      const at = indexNear(line.x, x);
      const [lineX, y] = [line.x[at], line.y[at]];
      if (lineX === undefined || y === undefined || !(plot.series[1 + i * perLine]?.show ?? false)) continue;
      const distance = isOver ? Math.abs(plot.valToPos(y, "y") - top) : line.label === pointedAt ? -1 : i;
      if (nearest === undefined || distance < nearest.distance) nearest = { distance, line, x: lineX, y };
    }
    if (!nearest) return "";
    if (isOver) pointedAt = nearest.line.label;
    const name = this.#lines.length > 1 ? `${nearest.line.label}, ` : "";
    const unit = this.#view.axis === "step" ? "step " : "";
    return `${name}${unit}${this.#formatX(nearest.x)}: ${this.#format(nearest.y)}`;
  }

  /** Describes the chart in words, for a screen reader. */
  #summary(): string {
    const parts = this.#lines
      .slice(0, 12)
      .map(({ label, y }) => `${label}: last ${this.#format(y.at(-1) ?? Number.NaN)}`);
    const more = this.#lines.length > 12 ? `; and ${this.#lines.length - 12} more` : "";
    return `${this.title} over ${this.#view.axis === "time" ? "training time" : "steps"}. ${parts.join("; ")}${more}`;
  }

  /** Fills the table if it is open: the first, lowest, highest and last value of each line, with their positions. */
  #fillTable(): void {
    if (!this.#details.open) return;
    const head = ["run", "first", "lowest", "highest", "last", this.#view.axis === "time" ? "at time" : "at step"];
    const rows = this.#lines.map(({ label, x, y }) => {
      const finite = y.filter(Number.isFinite);
      const lowest = finite.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
      const highest = finite.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
      const values = [y[0], lowest, highest, y.at(-1)].map((value) => this.#format(value ?? Number.NaN));
      return [label, ...values, this.#formatX(x.at(-1) ?? 0)];
    });
    this.#table.replaceChildren(...tableParts(head, rows));
  }
}

/** The arrays that uPlot draws: all lines over one ascending array of positions. */
function dataOf(lines: readonly Line[], { isDetailed, log }: { isDetailed: boolean; log: boolean }): uPlot.AlignedData {
  // A log scale cannot show 0.
  const shown = (values: readonly number[]) =>
    values.map((value) => (Number.isFinite(value) && (!log || value > 0) ? value : null));
  const tables = lines.map(({ x, y, raw, range }): uPlot.AlignedData => {
    const nothing = x.map(() => null);
    const more = isDetailed
      ? [raw ? shown(raw) : nothing, range ? shown(range.min) : nothing, range ? shown(range.max) : nothing]
      : [];
    return [[...x], shown(y), ...more];
  });
  const [first] = tables;
  if (!first) return [[]];
  // The lines of `join` without a value at a position are connected, as `spanGaps` says.
  return tables.length === 1 ? first : uPlot.join(tables);
}

function bandOf({ look, range }: Line, index: number): uPlot.Band[] {
  if (!range) return [];
  const main = 1 + 4 * index;
  return [{ series: [main + 3, main + 2], fill: transparent(resolved(look.color), 0.14) }];
}

/** Returns the ticks 1, 2 and 5 of each decade; all digits if they are few, and powers of ten if they are many. */
function logTicks(min: number, max: number): number[] {
  const decades = Array.from(
    { length: Math.floor(Math.log10(max)) - Math.floor(Math.log10(min)) + 1 },
    (_, i) => 10 ** (Math.floor(Math.log10(min)) + i),
  );
  const isInside = (value: number) => value >= min && value <= max;
  const fine = decades.flatMap((decade) => [decade, 2 * decade, 5 * decade]).filter(isInside);
  if (fine.length < 3)
    return decades.flatMap((decade) => [1, 2, 3, 4, 5, 6, 8].map((digit) => digit * decade)).filter(isInside);
  if (fine.length <= 7) return fine;
  const every = Math.ceil(decades.length / 7);
  return decades.filter((decade, i) => i % every === 0 && isInside(decade));
}

/** Returns a hexadecimal color with an opacity. */
function transparent(color: string, opacity: number): string {
  const alpha = Math.round(255 * opacity)
    .toString(16)
    .padStart(2, "0");
  return /^#[\da-f]{6}$/i.test(color) ? `${color}${alpha}` : color;
}

/** Index of the value in an ascending array that is nearest to another. */
function indexNear(values: readonly number[], value: number): number {
  let [low, high] = [0, values.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((values[middle] ?? 0) < value) low = middle + 1;
    else high = middle;
  }
  const [before, at] = [values[low - 1], values[low]];
  return before !== undefined && at !== undefined && value - before < at - value ? low - 1 : low;
}
