import { randomUUID } from "node:crypto";
import { readdir } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import { compareNames } from "../report/compare-names.js";
import type { FolderMessage, RunRow, StudyRow } from "./messages.js";
import { RunView } from "./run-view.js";
import { StudyView } from "./study-view.js";

/** How deep runs may lie below the watched folder. */
const maxDepth = 4;
/** Largest number of runs and studies. */
const maxEntries = 2000;
/** Time between two looks at running runs, in milliseconds. */
const lookEvery = 1000;
/** Runs that nobody trains, and new folders, are looked for once in so many looks. */
const restEvery = 3;

type Entry = RunView | StudyView;

const server = randomUUID();

/** All runs and studies of a folder. It is read only while somebody listens. */
export class FolderView {
  readonly path: string;
  readonly #entries = new Map<string, Entry>();
  readonly #listeners = new Set<(message: FolderMessage) => void>();
  #exists = false;
  #nextId = 1;
  #looks = 0;
  #timer: NodeJS.Timeout | undefined;
  #isLooking = false;

  constructor(path: string) {
    this.path = path;
  }

  /** Finds the runs and studies without reading their records; returns how many there are. */
  async scan(): Promise<{ readonly exists: boolean; readonly runs: number; readonly studies: number }> {
    await this.#scan();
    const entries = [...this.#entries.values()];
    const runs = entries.filter(({ kind }) => kind === "run").length;
    return { exists: this.#exists, runs, studies: entries.length - runs };
  }

  /**
   * Calls `listener` with everything now, and with what has changed from then on.
   * @returns a function that ends this
   */
  listen(listener: (message: FolderMessage) => void): () => void {
    this.#listeners.add(listener);
    const known = [...this.#entries.values()].filter(({ isRead }) => isRead);
    listener({ ...this.#message(known, []), isFirst: true });
    // The first look is a full one, because nobody looked while nobody listened.
    this.#looks = 0;
    this.#schedule(0);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  run(id: number): RunView | undefined {
    return [...this.#entries.values()].find((entry): entry is RunView => entry.id === id && entry.kind === "run");
  }

  study(id: number): StudyView | undefined {
    return [...this.#entries.values()].find((entry): entry is StudyView => entry.id === id && entry.kind === "study");
  }

  /** Stops looking. */
  close(): void {
    clearTimeout(this.#timer);
    this.#listeners.clear();
  }

  #schedule(delay: number): void {
    if (this.#isLooking) return;
    clearTimeout(this.#timer);
    if (this.#listeners.size === 0) return;
    this.#timer = setTimeout(() => {
      this.#isLooking = true;
      void this.#look().finally(() => {
        this.#isLooking = false;
        this.#schedule(lookEvery);
      });
    }, delay);
  }

  async #look(): Promise<void> {
    const isFull = this.#looks++ % restEvery === 0;
    if (isFull) {
      const existed = this.#exists;
      const removed = await this.#scan();
      if (removed.length > 0 || existed !== this.#exists) this.#send([], removed);
    }
    // The newest runs are read first. Names are compared as numbers where they are numbers.
    const entries = [...this.#entries.values()].sort((a, b) => compareNames(b.name, a.name));
    let changed: Entry[] = [];
    let sentAt = performance.now();
    for (const entry of entries) {
      if (this.#listeners.size === 0) return;
      if (entry.isRead && !isFull && !entry.isActive) continue;
      // A folder may be removed while it is read.
      if (await entry.update().catch(() => false)) changed.push(entry);
      // The first reading of many runs takes a while, so what is known is shown.
      if (performance.now() - sentAt < lookEvery / 2) continue;
      this.#send(changed, []);
      [changed, sentAt] = [[], performance.now()];
    }
    if (changed.length > 0) this.#send(changed, []);
  }

  #send(changed: readonly Entry[], removed: readonly number[]): void {
    const message = this.#message(changed, removed);
    for (const listener of this.#listeners) listener(message);
  }

  #message(entries: readonly Entry[], removed: readonly number[]): FolderMessage {
    const runs: RunRow[] = [];
    const studies: StudyRow[] = [];
    for (const entry of entries)
      if (entry.kind === "run") runs.push(entry.row);
      else studies.push(entry.row);
    const waiting = [...this.#entries.values()].filter(({ isRead }) => !isRead).length;
    const { path: folder } = this;
    return { server, isFirst: false, folder, exists: this.#exists, waiting, runs, studies, removed };
  }

  /** Finds new folders, and returns the ids of those that are gone. */
  async #scan(): Promise<number[]> {
    const found = new Set<string>();
    this.#exists = await this.#scanFolder(this.path, 0, found);
    const gone = [...this.#entries].filter(([path]) => !found.has(path));
    for (const [path] of gone) this.#entries.delete(path);
    return gone.map(([, { id }]) => id);
  }

  /** Whether the folder can be read. */
  async #scanFolder(path: string, depth: number, found: Set<string>): Promise<boolean> {
    const entries = await readdir(path, { withFileTypes: true }).catch(() => undefined);
    if (entries === undefined) return false;
    const names = new Set(entries.filter((entry) => !entry.isDirectory()).map(({ name }) => name));
    const isRun = names.has("config.json") || names.has("metrics.jsonl");
    if (isRun || names.has("study.json")) {
      if (found.size >= maxEntries) return true;
      found.add(path);
      const name = relative(this.path, path) || basename(path);
      if (!this.#entries.has(path))
        this.#entries.set(path, new (isRun ? RunView : StudyView)(this.#nextId++, path, name));
      return true;
    }
    if (depth === maxDepth) return true;
    // Links are not followed, because they may form a ring.
    for (const entry of entries)
      if (entry.isDirectory() && !entry.name.startsWith(".") && entry.name !== "node_modules")
        await this.#scanFolder(join(path, entry.name), depth + 1, found);
    return true;
  }
}
