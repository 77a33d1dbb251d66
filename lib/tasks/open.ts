import { resolve } from "node:path";
import { StepsizeError } from "../errors.js";
import { imageKinds } from "./images.js";
import type { Task, TaskKind, TaskOptions } from "./task.js";

const kinds: readonly TaskKind[] = [...imageKinds];

/** The sources there are, in words: mnist, idx:<dir> or cifar10:<dir>. */
export const sourcesInWords: string = inWords(
  kinds.map(({ kind, place }) => (place === undefined ? kind : `${kind}:${place}`)),
);

/** A source's two parts: `cifar10:path` is of the kind `cifar10`. */
export interface Source {
  readonly kind: string;
  readonly place?: string;
}

/** Whether a text names a source. */
export function isSource(text: string): boolean {
  const { kind, place } = parseSource(text);
  const known = kinds.find((each) => each.kind === kind);
  return known !== undefined && (known.place === undefined) === (place === undefined) && place !== "";
}

/** The two parts of a text. */
export function parseSource(text: string): Source {
  const colon = text.indexOf(":");
  return colon < 0 ? { kind: text } : { kind: text.slice(0, colon), place: text.slice(colon + 1) };
}

/** The source with its place's full path, so that a run can be resumed from another working directory. */
export function resolveSource(text: string): string {
  const { kind, place } = parseSource(text);
  return place === undefined ? kind : `${kind}:${resolve(place)}`;
}

/**
 * Reads the data that a source names.
 * @throws StepsizeError `invalid-argument` for a text that names none, and what reading the files may throw
 */
export async function openTask(text: string, options: TaskOptions = {}): Promise<Task> {
  const { kind, place = "" } = parseSource(text);
  const known = isSource(text) && kinds.find((each) => each.kind === kind);
  if (!known) throw new StepsizeError("invalid-argument", `data: expected ${sourcesInWords}, got "${text}"`);
  return known.open(place, options);
}

function inWords(words: readonly string[]): string {
  return `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}
