import { compareNames } from "../../report/compare-names.js";
import { labelOf } from "../../report/labels.js";
import type { RunRow, RunState } from "../messages.js";
import { make, setText } from "./dom.js";
import { count, duration, none, number, percent, setting } from "./format.js";
import { type Look, swatch } from "./palette.js";

/** The words for a state. */
export const stateWords: Readonly<Record<RunState, string>> = {
  running: "running",
  finished: "finished",
  interrupted: "interrupted",
  diverged: "diverged",
  failed: "failed",
  stopped: "stopped",
  new: "no steps yet",
};

/** Makes a mark for a state: a shape, a color and a word. */
export function badge(state: RunState): HTMLElement {
  return make("span", { class: `badge ${state}` }, stateWords[state]);
}

/** A setting that differs between runs. */
export interface Difference {
  readonly name: string;
  readonly value: string;
}

interface Column {
  readonly key: string;
  readonly title: string;
  readonly class: string;
  readonly value: (row: RunRow) => number | string | null;
  readonly text: (row: RunRow) => string;
}

const columns: readonly Column[] = [
  { key: "steps", title: "Steps", class: "number", value: ({ steps }) => steps, text: ({ steps }) => count(steps) },
  { key: "loss", title: "Loss", class: "number", value: ({ loss }) => loss, text: ({ loss }) => number(loss) },
  {
    key: "evaluation",
    title: "Eval. loss",
    class: "number",
    value: (row) => evaluationOf(row).loss,
    text: (row) => number(evaluationOf(row).loss),
  },
  {
    key: "accuracy",
    title: "Accuracy",
    class: "number",
    value: (row) => evaluationOf(row).accuracy,
    text: (row) => percent(evaluationOf(row).accuracy),
  },
  {
    key: "speed",
    title: "Items/s",
    class: "number optional",
    value: ({ itemsPerSecond }) => itemsPerSecond,
    text: ({ itemsPerSecond }) => (itemsPerSecond === null ? none : count(Math.round(itemsPerSecond))),
  },
  {
    key: "seconds",
    title: "Time",
    class: "number optional",
    value: ({ seconds }) => seconds,
    text: ({ seconds }) => duration(seconds),
  },
];

/** The result on the test split if the run is over, else the last evaluation. */
function evaluationOf({ testLoss, testAccuracy, evaluation }: RunRow): {
  loss: number | null;
  accuracy: number | null;
} {
  if (testLoss !== null) return { loss: testLoss, accuracy: testAccuracy };
  return { loss: evaluation?.loss ?? null, accuracy: evaluation?.accuracy ?? null };
}

/** What the page knows of a row beside its message. */
export interface RowView {
  readonly row: RunRow;
  readonly look: Look | undefined;
  readonly isCurrent: boolean;
  readonly differences: readonly Difference[];
}

/** What happens when the table is used. */
export interface TableActions {
  readonly pick: (id: number, isShown: boolean) => void;
  readonly open: (id: number) => void;
}

interface Cells {
  readonly root: HTMLTableRowElement;
  readonly check: HTMLInputElement;
  readonly swatch: HTMLElement;
  readonly state: HTMLElement;
  readonly meter: HTMLElement;
  readonly values: readonly HTMLElement[];
  readonly differences: HTMLElement;
  /** What the cells with elements show, so that they are made again only when it changes. */
  shown: string;
}

/** The table of runs, which is the legend of the charts too. Rows are changed in place, so that the focus stays. */
export class RunTable {
  readonly #actions: TableActions;
  readonly #body = make("tbody");
  readonly #rows = new Map<number, Cells>();
  readonly #headers = new Map<string, HTMLElement>();
  #sort: { readonly key: string; readonly descending: boolean } = { key: "name", descending: true };
  #views: readonly RowView[] = [];

  constructor(table: HTMLTableElement, actions: TableActions) {
    this.#actions = actions;
    const header = (key: string, title: string, className: string) => {
      const button = make("button", { type: "button" }, title);
      button.addEventListener("click", () => this.#sortBy(key));
      const cell = make("th", { scope: "col", class: className }, button);
      this.#headers.set(key, cell);
      return cell;
    };
    const head = make(
      "tr",
      {},
      make("th", { scope: "col" }, make("span", { class: "hidden" }, "Shown in the curves")),
      header("name", "Run", ""),
      header("state", "State", ""),
      ...columns.map(({ key, title, class: className }) => header(key, title, className)),
      make("th", { scope: "col" }, "Settings that differ"),
    );
    table.append(
      make("caption", { class: "hidden" }, "Runs with their state and newest values"),
      make("thead", {}, head),
      this.#body,
    );
  }

  /** Shows these rows and no others. */
  show(views: readonly RowView[]): void {
    this.#views = views;
    const ids = new Set(views.map(({ row }) => row.id));
    for (const [id, { root }] of this.#rows)
      if (!ids.has(id)) {
        root.remove();
        this.#rows.delete(id);
      }
    for (const view of views) this.#update(view);
    this.#order();
  }

  #sortBy(key: string): void {
    // Names begin with the newest, numbers with the lowest.
    const first = key === "name";
    this.#sort = { key, descending: this.#sort.key === key ? !this.#sort.descending : first };
    this.#order();
  }

  #order(): void {
    const { key, descending } = this.#sort;
    for (const [name, cell] of this.#headers)
      if (name === key) cell.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    const sign = descending ? -1 : 1;
    const sorted = [...this.#views].sort((a, b) => {
      const [x, y] = [sortValue(a.row, key), sortValue(b.row, key)];
      // Rows without a value come last in both directions.
      if (x === null || y === null) return x === y ? 0 : x === null ? 1 : -1;
      const order = typeof x === "number" && typeof y === "number" ? x - y : compareNames(String(x), String(y));
      return sign * order || compareNames(b.row.name, a.row.name);
    });
    let before: Element | null = null;
    for (const { row } of sorted) {
      const root = this.#rows.get(row.id)?.root;
      if (!root) continue;
      const expected: Element | null = before === null ? this.#body.firstElementChild : before.nextElementSibling;
      if (expected !== root) this.#body.insertBefore(root, expected);
      before = root;
    }
  }

  #update({ row, look, isCurrent, differences }: RowView): void {
    const cells = this.#rows.get(row.id) ?? this.#add(row);
    cells.check.checked = look !== undefined;
    cells.root.classList.toggle("current", isCurrent);
    for (const [i, { text }] of columns.entries()) {
      const cell = cells.values[i];
      if (cell) setText(cell, text(row));
    }
    const share = row.budget ? Math.min(1, row.steps / row.budget) : 0;
    cells.meter.style.width = `${100 * share}%`;
    const shown = JSON.stringify([row.state, look, differences]);
    if (shown === cells.shown) return;
    cells.shown = shown;
    cells.state.replaceChildren(badge(row.state));
    cells.swatch.replaceChildren(...(look ? [swatch(look)] : []));
    cells.differences.replaceChildren(
      ...differences
        .slice(0, 6)
        .map(({ name, value }) => make("span", {}, `${labelOf(name)} `, make("b", {}, setting(value)))),
      ...(differences.length > 6 ? [make("span", {}, `${differences.length - 6} more`)] : []),
    );
  }

  #add(row: RunRow): Cells {
    const check = make("input", { type: "checkbox", "aria-label": `Show run ${row.name} in the curves` });
    check.addEventListener("change", () => this.#actions.pick(row.id, check.checked));
    const swatch = make("span", { class: "swatch" });
    const name = make(
      "button",
      { type: "button", title: row.name, "aria-label": `Details of run ${row.name}` },
      row.name,
    );
    name.addEventListener("click", () => this.#actions.open(row.id));
    const state = make("td");
    const values = columns.map(() => make("span"));
    const meter = make("i");
    const differences = make("td", { class: "changes" });
    const root = make(
      "tr",
      {},
      make("td", {}, make("label", { class: "pick" }, check, swatch)),
      make("th", { scope: "row" }, name),
      state,
      ...columns.map(({ class: className, key }, i) => {
        const value = values[i] ?? "";
        const parts =
          key === "steps" ? [value, make("span", { class: "meter", "aria-hidden": "true" }, meter)] : [value];
        return make("td", { class: className }, ...parts);
      }),
      differences,
    );
    const cells: Cells = { root, check, swatch, state, meter, values, differences, shown: "" };
    this.#rows.set(row.id, cells);
    return cells;
  }
}

function sortValue(row: RunRow, key: string): number | string | null {
  if (key === "name") return row.name;
  if (key === "state") return stateWords[row.state];
  return columns.find((column) => column.key === key)?.value(row) ?? null;
}

/** Settings that say nothing about the training. */
const unimportant = [
  "device",
  "threads",
  "checkpointEvery",
  "evaluateEvery",
  "evaluationItems",
  "keep",
  "capture",
  "tensorboard",
];

/**
 * Returns, for each run, the settings in which the runs differ; of a single run its main settings.
 */
export function differencesOf(rows: readonly RunRow[]): Map<number, readonly Difference[]> {
  const names = [...new Set(rows.flatMap(({ settings }) => Object.keys(settings)))];
  const values = (name: string) => new Set(rows.map(({ settings }) => settings[name] ?? ""));
  const differing = names.filter((name) => !unimportant.includes(name) && values(name).size > 1);
  const shown = differing.length > 0 ? differing : ["model", "data", "optimizer", "schedule"];
  return new Map(
    rows.map(({ id, settings }) => [
      id,
      shown.flatMap((name) => {
        const value = settings[name];
        return value === undefined ? [] : [{ name, value }];
      }),
    ]),
  );
}
