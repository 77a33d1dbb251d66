import { compareNames } from "../../report/compare-names.js";
import type { FolderMessage, RunRow, StudyRow } from "../messages.js";
import { Chart, type ChartOptions, type ChartView, type Line, type Zoom } from "./chart.js";
import { CurveStore, evaluationLine, type LineOptions, lineOf } from "./curves.js";
import { Detail } from "./detail.js";
import { byId, make, setText } from "./dom.js";
import { bytes, compact, count, number, percent, percentTick, some } from "./format.js";
import { type Look, lookOf } from "./palette.js";
import { Studies } from "./studies.js";
import { differencesOf, type RowView, RunTable, stateWords } from "./table.js";

/** Number of runs that are shown in the curves when the page opens: the newest. */
const shownAtFirst = 8;
/** Time between two requests for curves, in milliseconds. */
const requestEvery = 700;
/** Fields that have no chart of their own. */
const withoutChart = ["skipped", "items"];
/** Fields without noise. A mean would hide the steps in their curves. */
const notSmoothed = ["learningRate", "memory"];
/** Fields in bytes. */
const isBytes = (name: string) => /bytes|memory/i.test(name);

/** The page: what the server says, what the user chose, and the parts that show both. */
class Page {
  readonly #rows = new Map<number, RunRow>();
  readonly #studyRows = new Map<number, StudyRow>();
  /** Index of the look of each shown run. A run keeps its color as long as it is shown. */
  readonly #slots = new Map<number, number>();
  readonly #store = new CurveStore();
  readonly #charts = new Map<string, Chart>();
  readonly #table: RunTable;
  readonly #detail: Detail;
  readonly #studies: Studies;
  #isFirst = true;
  #server: string | undefined;
  #current: number | undefined;
  #axis: "step" | "time" = "step";
  #zoom: Zoom | undefined;
  #isLoading = false;
  #isDirty = false;
  #waiting = 0;

  constructor() {
    this.#table = new RunTable(byId<HTMLTableElement>("run-table"), {
      pick: (id, isShown) => this.#pick(id, isShown),
      open: (id) => this.#open(id),
    });
    this.#detail = new Detail(byId("detail"), () => this.#open(undefined));
    this.#studies = new Studies(byId("studies"));
    this.#listenToControls();
    this.#connect();
  }

  #connect(): void {
    const connection = byId("connection");
    const say = (words: string, state: string) => {
      setText(connection, words);
      connection.className = `connection ${state}`;
    };
    const events = new EventSource("/events");
    events.addEventListener("open", () => say("Live", "live"));
    events.addEventListener("error", () => {
      if (events.readyState !== EventSource.CLOSED) return say("Connection lost; trying again", "lost");
      // The server refused, as it does after it was started again with another token.
      say("Not connected; reload the page, or open the URL that the command printed", "lost");
    });
    events.addEventListener("message", ({ data }: MessageEvent<string>) => this.#receive(JSON.parse(data)));
  }

  #receive(message: FolderMessage): void {
    const { runs, studies, removed, waiting, server, isFirst } = message;
    // A server that was started again has other ids.
    if (this.#server !== undefined && this.#server !== server) {
      location.reload();
      return;
    }
    this.#server = server;
    const sent = new Set([...runs, ...studies].map(({ id }) => id));
    const missing = isFirst ? [...this.#rows.keys(), ...this.#studyRows.keys()].filter((id) => !sent.has(id)) : [];
    for (const id of [...removed, ...missing]) {
      this.#rows.delete(id);
      this.#studyRows.delete(id);
      this.#slots.delete(id);
    }
    const began = runs.filter(({ id }) => !this.#rows.has(id));
    const news = runs.flatMap((row) => newsOf(this.#rows.get(row.id), row));
    for (const row of runs) this.#rows.set(row.id, row);
    for (const row of studies) this.#studyRows.set(row.id, row);
    this.#waiting = waiting;
    this.#showNew(began);
    if (news.length > 0) setText(byId("news"), news.join(". "));
    setText(byId("folder"), message.folder);
    this.#showEmpty(message);
    this.#render();
  }

  /** Shows new runs in the curves: the newest when the page opens, later all that begin, up to a number. */
  #showNew(began: readonly RunRow[]): void {
    const newest = [...began].sort((a, b) => compareNames(b.name, a.name));
    for (const { id } of newest) if (this.#slots.size < shownAtFirst * (this.#isFirst ? 1 : 2)) this.#takeSlot(id);
    if (this.#waiting === 0) this.#isFirst = false;
  }

  #takeSlot(id: number): void {
    if (this.#slots.has(id)) return;
    const taken = new Set(this.#slots.values());
    let slot = 0;
    while (taken.has(slot)) slot++;
    this.#slots.set(id, slot);
  }

  #pick(id: number, isShown: boolean): void {
    if (isShown) this.#takeSlot(id);
    else this.#slots.delete(id);
    this.#render();
  }

  #open(id: number | undefined): void {
    this.#current = id;
    this.#render();
    if (id === undefined) return;
    const heading = document.getElementById("detail-heading");
    heading?.scrollIntoView({ block: "start" });
    heading?.focus({ preventScroll: true });
  }

  #showEmpty({ folder, exists }: FolderMessage): void {
    const empty = byId("empty");
    const isEmpty = this.#rows.size + this.#studyRows.size === 0 && this.#waiting === 0;
    empty.hidden = !isEmpty;
    byId("runs").hidden = this.#rows.size === 0;
    byId("charts").hidden = this.#rows.size === 0;
    if (!isEmpty || empty.childElementCount > 0) return;
    const reason = exists ? `The folder ${folder} has no runs.` : `The folder ${folder} does not exist yet.`;
    empty.append(
      make("h2", {}, "No runs yet"),
      make("p", {}, `${reason} A run appears here as soon as it has begun. Start one in another terminal:`),
      make("pre", {}, "npx stepsize train --model resnet8 --data mnist --budget 600 --evaluate-every 100"),
      make("p", {}, "Studies of stepsize compare appear too. To watch another folder, give it to the command:"),
      make("pre", {}, "npx stepsize watch path/to/runs"),
    );
  }

  #listenToControls(): void {
    const log = byId<HTMLInputElement>("log");
    const smoothing = byId<HTMLInputElement>("smoothing");
    const filter = byId<HTMLInputElement>("filter");
    filter.addEventListener("input", () => this.#render());
    log.addEventListener("change", () => this.#render());
    smoothing.addEventListener("input", () => this.#draw());
    for (const radio of document.querySelectorAll<HTMLInputElement>("input[name=axis]"))
      radio.addEventListener("change", () => {
        this.#axis = radio.value === "time" ? "time" : "step";
        this.#setZoom(undefined);
      });
    byId("show-shown").addEventListener("click", () => {
      for (const { id } of this.#filtered()) this.#takeSlot(id);
      this.#render();
    });
    byId("show-none").addEventListener("click", () => {
      this.#slots.clear();
      this.#render();
    });
    const [from, to] = [byId<HTMLInputElement>("zoom-from"), byId<HTMLInputElement>("zoom-to")];
    const byNumbers = () => {
      const zoom = { from: Number(from.value), to: Number(to.value) };
      if (to.value !== "" && zoom.to > zoom.from) this.#setZoom(zoom);
    };
    for (const input of [from, to]) input.addEventListener("change", byNumbers);
    byId("zoom-reset").addEventListener("click", () => this.#setZoom(undefined));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      for (const chart of this.#charts.values()) chart.recolor();
      this.#studies.recolor();
    });
  }

  #setZoom(zoom: Zoom | undefined): void {
    this.#zoom = zoom;
    const shown = (value: number | undefined) => (value === undefined ? "" : String(Number(value.toPrecision(6))));
    byId<HTMLInputElement>("zoom-from").value = shown(zoom?.from);
    byId<HTMLInputElement>("zoom-to").value = shown(zoom?.to);
    byId<HTMLButtonElement>("zoom-reset").disabled = zoom === undefined;
    this.#render();
  }

  /** The runs whose name or settings contain the words of the filter. */
  #filtered(): RunRow[] {
    const words = byId<HTMLInputElement>("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    return [...this.#rows.values()].filter(({ name, state, settings }) => {
      const text = [name, stateWords[state], ...Object.entries(settings).flat()].join(" ").toLowerCase();
      return words.every((word) => text.includes(word));
    });
  }

  #render(): void {
    const rows = [...this.#rows.values()];
    const differences = differencesOf(rows);
    const views = this.#filtered().map(
      (row): RowView => ({
        row,
        look: this.#lookOf(row.id),
        isCurrent: row.id === this.#current,
        differences: differences.get(row.id) ?? [],
      }),
    );
    this.#table.show(views);
    const running = rows.filter(({ state }) => state === "running").length;
    const parts = [some(rows.length, "run"), `${count(running)} running`, `${count(this.#slots.size)} shown`];
    if (this.#waiting > 0) parts.push(`reading ${count(this.#waiting)} more`);
    setText(byId("counts"), parts.join(" · "));
    this.#detail.show(this.#current === undefined ? undefined : this.#rows.get(this.#current));
    this.#studies.show(
      [...this.#studyRows.values()].sort((a, b) => compareNames(a.name, b.name)),
      { log: byId<HTMLInputElement>("log").checked },
    );
    this.#draw();
    void this.#load();
  }

  #lookOf(id: number): Look | undefined {
    const slot = this.#slots.get(id);
    return slot === undefined ? undefined : lookOf(slot);
  }

  /** Requests new records of the shown runs; one request at a time, and not too often. */
  async #load(): Promise<void> {
    this.#isDirty = true;
    if (this.#isLoading) return;
    this.#isLoading = true;
    while (this.#isDirty) {
      this.#isDirty = false;
      const ids = [...this.#slots.keys()];
      this.#store.keep(new Set(ids));
      try {
        await this.#store.load(ids, { axis: this.#axis, zoom: this.#zoom });
      } catch {
        // The connection says that it is lost, and what is missing is requested when it is back.
      }
      this.#draw();
      await new Promise((resolve) => setTimeout(resolve, requestEvery));
    }
    this.#isLoading = false;
  }

  #draw(): void {
    const percentOf = Number(byId<HTMLInputElement>("smoothing").value);
    setText(byId("smoothing-value"), percentOf === 0 ? "off" : `${percentOf} %`);
    const ids = [...this.#slots.keys()].filter((id) => this.#rows.has(id));
    const view: ChartView = { axis: this.#axis, log: byId<HTMLInputElement>("log").checked, zoom: this.#zoom };
    const fields = this.#store.fields(ids).filter((name) => !withoutChart.includes(name));
    const lines = (make: (id: number, options: LineOptions) => Line | undefined) =>
      ids.flatMap((id) => {
        const look = this.#lookOf(id);
        const label = this.#rows.get(id)?.name ?? "";
        return look ? (make(id, { label, look, axis: this.#axis, smoothing: percentOf / 100 }) ?? []) : [];
      });
    const loaded = (id: number) => this.#store.get(id, this.#axis, this.#zoom);
    const ofField = (name: string) =>
      lines((id, options) => {
        const curves = loaded(id);
        const smoothing = notSmoothed.includes(name) ? 0 : options.smoothing;
        return curves && lineOf(curves, name, { ...options, smoothing });
      });
    const ofEvaluations = (name: "loss" | "accuracy") =>
      lines((id, options) => {
        const curves = loaded(id);
        return curves && evaluationLine(curves, name, options);
      });
    const { loss, accuracy } = this.#store.evaluations(ids);
    const drawn: [key: string, lines: Line[]][] = [["loss", ofField("loss")]];
    if (loss) drawn.push(["evaluationLoss", ofEvaluations("loss")]);
    if (accuracy) drawn.push(["accuracy", ofEvaluations("accuracy")]);
    for (const name of fields) if (name !== "loss") drawn.push([name, ofField(name)]);
    for (const [key, chart] of this.#charts)
      if (!drawn.some(([name]) => name === key)) {
        chart.destroy();
        this.#charts.delete(key);
      }
    for (const [key, some] of drawn) this.#chartOf(key).draw(some, view);
  }

  #chartOf(key: string): Chart {
    const known = this.#charts.get(key);
    if (known) return known;
    const chart = new Chart({
      title: key,
      mayLog: ["loss", "evaluationLoss", "gradientNorm"].includes(key),
      dots: key === "evaluationLoss" || key === "accuracy",
      ...formatsOf(key),
      onZoom: (zoom) => this.#setZoom(zoom),
    });
    this.#charts.set(key, chart);
    byId("figures").append(chart.root);
    return chart;
  }
}

/** How the values and the ticks of a quantity are written. */
function formatsOf(key: string): Pick<ChartOptions, "format" | "formatTick"> {
  if (key === "accuracy" || key === "dataWaitShare") return { format: percent, formatTick: percentTick };
  if (key === "itemsPerSecond") return { format: (value) => count(Math.round(value)), formatTick: compact };
  return { format: isBytes(key) ? bytes : number };
}

/** What a screen reader is told about a run: that it ended. */
function newsOf(before: RunRow | undefined, { name, state }: RunRow): string[] {
  return before?.state === "running" && state !== "running" ? [`Run ${name}: ${stateWords[state]}`] : [];
}

new Page();
