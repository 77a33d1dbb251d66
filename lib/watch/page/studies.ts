import type { StudyCurve, StudyRow } from "../messages.js";
import { Chart, type ChartView, type Line } from "./chart.js";
import { make, setText, tableParts } from "./dom.js";
import { count, none, number, percent, some } from "./format.js";
import { lookOf } from "./palette.js";

/** The section with the studies of `stepsize compare`. */
export class Studies {
  readonly #root: HTMLElement;
  readonly #choice = make("select", { "aria-label": "Study" });
  readonly #group = make("select", { "aria-label": "Model, data, optimizer and budget" });
  readonly #status = make("p", { class: "muted" });
  readonly #table = make("table");
  readonly #charts: { readonly loss: Chart; readonly onTheWay: Chart; readonly rate: Chart };
  #rows: readonly StudyRow[] = [];
  #curves: readonly StudyCurve[] = [];
  #loaded = "";
  #log = true;

  constructor(root: HTMLElement) {
    this.#root = root;
    this.#charts = {
      loss: new Chart({ title: "loss", mayLog: true }),
      onTheWay: new Chart({ title: "validationLoss", mayLog: true, dots: true }),
      rate: new Chart({ title: "learningRate" }),
    };
    this.#choice.addEventListener("change", () => void this.#load());
    this.#group.addEventListener("change", () => this.#draw());
    root.append(
      make(
        "div",
        { class: "heading" },
        make("h2", { id: "studies-heading" }, "Studies"),
        this.#status,
        make("div", { class: "controls" }, this.#choice, this.#group),
      ),
      make(
        "div",
        { class: "scroll", tabindex: 0, role: "region", "aria-label": "Schedules of the study" },
        this.#table,
      ),
      make("div", { class: "figures spaced" }, ...Object.values(this.#charts).map(({ root: figure }) => figure)),
    );
  }

  /** Shows the studies of a folder. */
  show(rows: readonly StudyRow[], { log }: { readonly log: boolean }): void {
    this.#root.hidden = rows.length === 0;
    this.#rows = rows;
    const hasChanged = log !== this.#log;
    this.#log = log;
    if (rows.length === 0) return;
    fillSelect(
      this.#choice,
      rows.map(({ id, name }) => [String(id), name]),
    );
    void this.#load();
    if (hasChanged) this.#draw();
  }

  recolor(): void {
    for (const chart of Object.values(this.#charts)) chart.recolor();
  }

  async #load(): Promise<void> {
    const row = this.#rows.find(({ id }) => String(id) === this.#choice.value);
    if (!row) return;
    const state = row.isRunning ? "running" : "not running";
    setText(this.#status, `${some(row.runs, "finished run")}, ${state}`);
    const key = `${row.id} ${row.version}`;
    if (key === this.#loaded) return;
    this.#loaded = key;
    const response = await fetch(`/study?study=${row.id}`);
    if (!response.ok || key !== this.#loaded) return;
    this.#curves = await response.json();
    const groups = [...new Set(this.#curves.map(({ group }) => group))];
    fillSelect(
      this.#group,
      groups.map((group) => [group, group]),
    );
    this.#draw();
  }

  #draw(): void {
    const inGroup = this.#curves.filter(({ group }) => group === this.#group.value);
    const final = inGroup.filter(({ purpose }) => purpose === "final");
    // Before the final runs, the trials for tuning are all there is.
    const drawn = final.length > 0 ? final : inGroup;
    const schedules = [...new Set(inGroup.map(({ schedule }) => schedule))];
    const view: ChartView = { axis: "step", log: this.#log, zoom: undefined };
    const lines = (pointsOf: (curve: StudyCurve) => readonly (readonly [number, number | null])[]): Line[] =>
      schedules.flatMap((schedule, i) => {
        const runs = drawn.filter((curve) => curve.schedule === schedule && curve.status === "completed");
        const points = meanOf(runs.map(pointsOf));
        if (points.length === 0) return [];
        return [{ label: schedule, look: lookOf(i), x: points.map(([x]) => x), y: points.map(([, y]) => y) }];
      });
    this.#charts.loss.draw(
      lines(({ step, loss }) => step.map((x, i) => [x, loss[i] ?? null])),
      view,
    );
    this.#charts.onTheWay.draw(
      lines(({ onTheWay }) => onTheWay),
      view,
    );
    this.#charts.rate.draw(
      lines(({ step, learningRate }) => step.map((x, i) => [x, learningRate[i] ?? null])),
      view,
    );
    this.#charts.onTheWay.root.hidden = drawn.every(({ onTheWay }) => onTheWay.length === 0);
    this.#fillTable(schedules, inGroup);
  }

  #fillTable(schedules: readonly string[], curves: readonly StudyCurve[]): void {
    const head = ["schedule", "trials", "final runs", "diverged", "best trial", "final loss", "final accuracy"];
    const rows = schedules.map((schedule) => {
      const own = curves.filter((curve) => curve.schedule === schedule);
      const [tuning, final] = ["tuning", "final"].map((purpose) => own.filter((curve) => curve.purpose === purpose));
      const losses = (runs: readonly StudyCurve[] = []) => runs.flatMap(({ validationLoss }) => validationLoss ?? []);
      const accuracies = (final ?? []).flatMap(({ validationAccuracy }) => validationAccuracy ?? []);
      const trials = losses(tuning);
      return [
        schedule,
        count(tuning?.length),
        count(final?.length),
        count(own.filter(({ status }) => status === "diverged").length),
        trials.length > 0 ? number(Math.min(...trials)) : none,
        number(mean(losses(final))),
        accuracies.length > 0 ? percent(mean(accuracies)) : none,
      ];
    });
    this.#table.replaceChildren(
      make("caption", { class: "hidden" }, "Runs of the study per schedule, with losses on the validation split"),
      ...tableParts(head, rows),
    );
  }
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The mean of curves at the positions that they have. Runs of one study have the same. */
function meanOf(curves: readonly (readonly (readonly [number, number | null])[])[]): (readonly [number, number])[] {
  const values = new Map<number, number[]>();
  for (const [x, y] of curves.flat()) if (y !== null) values.set(x, [...(values.get(x) ?? []), y]);
  return [...values].sort(([a], [b]) => a - b).map(([x, ys]) => [x, mean(ys)]);
}

/** Replaces the choices of a select and keeps the chosen one if it is still there. */
function fillSelect(select: HTMLSelectElement, choices: readonly (readonly [value: string, text: string])[]): void {
  const present = [...select.options].map(({ value, text }) => [value, text]);
  if (JSON.stringify(present) === JSON.stringify(choices)) return;
  const chosen = select.value;
  select.replaceChildren(...choices.map(([value, text]) => make("option", { value }, text)));
  if (choices.some(([value]) => value === chosen)) select.value = chosen;
  select.hidden = choices.length < 2;
}
