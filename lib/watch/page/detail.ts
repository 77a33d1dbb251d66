import { labelOf } from "../../report/labels.js";
import type { RunRow } from "../messages.js";
import { make, setText } from "./dom.js";
import { count, number, percent, some } from "./format.js";
import { badge } from "./table.js";

/** Larger confusion matrices are not shown as a table; their most frequent mistakes are. */
const maxClasses = 32;
const maxSamples = 12;

/** The predictions of an evaluation, as in `predictions-<split>.json`. */
interface Predictions {
  readonly step: number;
  readonly items: number;
  readonly classes: readonly string[];
  /** Items per true class (row) and predicted class; absent if there are many classes. */
  readonly confusion?: readonly (readonly number[])[];
  readonly worst: readonly {
    readonly item: number;
    readonly label: number;
    readonly predicted: number;
    /** Probability of the label. */
    readonly probability: number;
    /** A picture as a data URL. */
    readonly image?: string;
  }[];
}

/** A line of `samples.jsonl`. */
interface Sample {
  readonly step: number;
  readonly prompt: string;
  readonly text: string;
}

/** The section with everything about one run. */
export class Detail {
  readonly #root: HTMLElement;
  readonly #close: () => void;
  readonly #head = make("div", { class: "heading" });
  readonly #error = make("pre", { class: "error" });
  readonly #settings = make("dl", { class: "facts" });
  readonly #predictions = make("div");
  readonly #samples = make("div");
  #id: number | undefined;
  #shown = "";
  readonly #versions = new Map<string, number>();

  constructor(root: HTMLElement, close: () => void) {
    this.#root = root;
    this.#close = close;
    root.append(
      this.#head,
      this.#error,
      this.#predictions,
      this.#samples,
      make("details", { class: "more" }, make("summary", {}, "All settings"), this.#settings),
    );
  }

  /** Shows a run; `undefined` for none. */
  show(row: RunRow | undefined): void {
    this.#root.hidden = row === undefined;
    if (row === undefined) {
      this.#id = undefined;
      return;
    }
    if (row.id !== this.#id) {
      this.#id = row.id;
      this.#versions.clear();
      this.#shown = "";
      this.#predictions.replaceChildren();
      this.#samples.replaceChildren();
    }
    const shown = JSON.stringify([row.name, row.state, row.error, row.settings, row.hasReport]);
    if (shown !== this.#shown) {
      this.#shown = shown;
      this.#fill(row);
    }
    // The test split has predictions once the run is finished.
    const split = "test" in row.predictions ? "test" : "validation";
    const version = row.predictions[split];
    if (version !== undefined && this.#isNew(split, version)) void this.#loadPredictions(row.id, split);
    if (row.samples > 0 && this.#isNew("samples", row.samples)) void this.#loadSamples(row.id);
  }

  #isNew(what: string, version: number): boolean {
    if (this.#versions.get(what) === version) return false;
    this.#versions.set(what, version);
    return true;
  }

  #fill(row: RunRow): void {
    const close = make("button", { type: "button" }, "Close");
    close.addEventListener("click", this.#close);
    const report = make("a", { href: `/report?run=${row.id}`, target: "_blank", rel: "noopener" }, "Report");
    this.#head.replaceChildren(
      make("h2", { id: "detail-heading", tabindex: -1 }, `Run ${row.name}`),
      badge(row.state),
      ...(row.hasReport ? [report] : []),
      make("div", { class: "controls" }, close),
    );
    this.#error.hidden = row.error === null;
    setText(this.#error, row.error ?? "");
    this.#settings.replaceChildren(
      ...Object.entries(row.settings).flatMap(([name, value]) => [
        make("dt", {}, labelOf(name)),
        make("dd", {}, value),
      ]),
    );
  }

  async #loadPredictions(id: number, split: string): Promise<void> {
    const response = await fetch(`/predictions?run=${id}&split=${encodeURIComponent(split)}`);
    const found: Predictions | undefined = response.ok ? await response.json() : undefined;
    if (this.#id !== id || !found || !Array.isArray(found.classes) || !Array.isArray(found.worst)) return;
    const worst = found.worst.length > 0 ? [worstBlock(found, split)] : [];
    this.#predictions.replaceChildren(make("div", { class: "columns" }, ...confusionBlock(found, split), ...worst));
  }

  async #loadSamples(id: number): Promise<void> {
    const response = await fetch(`/samples?run=${id}`);
    const text = response.ok ? await response.text() : "";
    if (this.#id !== id) return;
    const samples = text.split("\n").flatMap(sampleIn);
    this.#samples.replaceChildren(
      make("h3", {}, "Samples of text"),
      ...samples
        .slice(-maxSamples)
        .reverse()
        .map(({ step, prompt, text: continued }) =>
          make(
            "div",
            { class: "sample" },
            make("p", { class: "muted" }, `after step ${count(step)}`),
            make("pre", {}, make("mark", {}, prompt), continued),
          ),
        ),
    );
  }
}

function sampleIn(line: string): Sample[] {
  try {
    const { step, prompt, text } = JSON.parse(line);
    return [{ step: Number(step), prompt: String(prompt), text: String(text) }];
  } catch {
    // The first line may be cut, the last one half written.
    return [];
  }
}

function confusionBlock({ classes, confusion, step, items }: Predictions, split: string): HTMLElement[] {
  if (!Array.isArray(confusion)) return [];
  const cell = (truth: number, guess: number) => confusion[truth]?.[guess] ?? 0;
  const mistakes = classes
    .flatMap((_, truth) => classes.map((__, guess) => ({ truth, guess, times: cell(truth, guess) })))
    .filter(({ truth, guess, times }) => truth !== guess && times > 0)
    .sort((a, b) => b.times - a.times);
  const name = (index: number) => classes[index] ?? String(index);
  const summary = mistakes
    .slice(0, 3)
    .map(({ truth, guess, times }) => `${name(truth)} taken for ${name(guess)}: ${count(times)}`);
  const caption = make(
    "p",
    { class: "muted" },
    `${some(items, "item")} of the ${split} split after step ${count(step)}. Rows are true classes, columns predicted ones.`,
  );
  const block = make("div", {}, make("h3", {}, "Confusion matrix"), caption);
  if (classes.length <= maxClasses) {
    const totals = classes.map((_, truth) => classes.reduce((sum, __, guess) => sum + cell(truth, guess), 0));
    const head = make("tr", {}, make("td"), ...classes.map((title) => make("th", { scope: "col", title }, title)));
    const rows = classes.map((title, truth) =>
      make(
        "tr",
        {},
        make("th", { scope: "row", title }, title),
        ...classes.map((_, guess) => confusionCell(cell(truth, guess), totals[truth] ?? 0, truth === guess)),
      ),
    );
    const table = make("table", { class: "confusion" }, make("thead", {}, head), make("tbody", {}, ...rows));
    block.append(
      make("div", { class: "scroll matrix", tabindex: 0, role: "region", "aria-label": "Confusion matrix" }, table),
    );
  }
  if (summary.length > 0) block.append(make("p", { class: "muted" }, `Most frequent: ${summary.join("; ")}.`));
  return [block];
}

/** A cell whose color is its share of the row: one color for correct predictions, another for mistakes. */
function confusionCell(times: number, total: number, isCorrect: boolean): HTMLElement {
  const share = total > 0 ? times / total : 0;
  const cell = make("td", {}, times > 0 ? count(times) : "");
  // Mistakes are rarer, so their scale is steeper.
  const strength = isCorrect ? 45 * share : 70 * Math.sqrt(share);
  if (times > 0)
    cell.style.background = `color-mix(in srgb, var(${isCorrect ? "--loss" : "--rate"}) ${Math.round(strength)}%, var(--surface))`;
  return cell;
}

function worstBlock({ worst, classes, step }: Predictions, split: string): HTMLElement {
  const name = (index: number) => classes[index] ?? String(index);
  return make(
    "div",
    {},
    make("h3", {}, "Worst predictions"),
    make(
      "p",
      { class: "muted" },
      `Items of the ${split} split with the least probability of their class, after step ${count(step)}.`,
    ),
    make(
      "ul",
      { class: "worst" },
      ...worst.map(({ item, label, predicted, probability, image }) => {
        const words = `${name(label)}, taken for ${name(predicted)}`;
        const isPicture = typeof image === "string" && image.startsWith("data:image/png;base64,");
        return make(
          "li",
          {},
          ...(isPicture ? [make("img", { src: image, alt: `Item ${count(item)}: ${words}` })] : []),
          make("p", {}, words),
          make(
            "p",
            { class: "muted" },
            `${probability < 1e-4 ? `${number(100 * probability)} %` : percent(probability)} · item ${count(item)}`,
          ),
        );
      }),
    ),
  );
}
