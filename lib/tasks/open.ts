import { resolve } from "node:path";
import { invalidArgument, StepsizeError } from "../errors.js";
import { imageKinds } from "./images.js";
import { languageKind } from "./language.js";
import { tableKinds } from "./tables.js";
import { type ReadOption, readOptionNames, type Task, type TaskKind, type TaskOptions } from "./task.js";

const kinds: readonly TaskKind[] = [...imageKinds, ...tableKinds, languageKind];

/** Lists the kinds of sources for messages: `mnist, idx:<dir>, … or tokens:<dir>`. */
export const sourcesInWords: string = inWords(kinds.map(patternOf));

/** The words before the colon. */
export const sourceKinds: readonly string[] = kinds.map(({ kind }) => kind);

/** The two parts of a source: `cifar10:path` has the kind `cifar10` and the place `path`. */
export interface Source {
  readonly kind: string;
  readonly place?: string;
}

/** Whether a text is a valid source. */
export function isSource(text: string): boolean {
  const { kind, place } = parseSource(text);
  const known = kinds.find((candidate) => candidate.kind === kind);
  if (known === undefined || place === "") return false;
  return place === undefined
    ? known.place === undefined || known.withoutPlace !== undefined
    : known.place !== undefined;
}

/** Splits a source at its first colon. */
export function parseSource(text: string): Source {
  const colon = text.indexOf(":");
  return colon < 0 ? { kind: text } : { kind: text.slice(0, colon), place: text.slice(colon + 1) };
}

/** Whether the data of a source have a validation split. */
export function hasValidation(text: string): boolean {
  return kinds.find(({ kind }) => kind === parseSource(text).kind)?.hasValidation ?? false;
}

/** Whether a setting applies to the data of a source. */
export function takesOption(text: string, option: ReadOption): boolean {
  return kinds.find(({ kind }) => kind === parseSource(text).kind)?.takes?.includes(option) ?? false;
}

/** Lists the kinds of sources that a setting applies to, for messages. */
export function sourcesWith(option: ReadOption): string {
  return inWords(kinds.filter(({ takes }) => takes?.includes(option)).map(patternOf));
}

/** Makes the path of a source absolute, so that a run can be resumed from another working directory. */
export function resolveSource(text: string): string {
  const { kind, place } = parseSource(text);
  return place === undefined ? kind : `${kind}:${resolve(place)}`;
}

/**
 * Reads the data of a source.
 * @throws StepsizeError `invalid-argument` for an invalid source or options that do not fit it, and any error of reading
 * the files
 */
export async function openTask(text: string, options: TaskOptions = {}): Promise<Task> {
  const { kind, place = "" } = parseSource(text);
  const known = isSource(text) && kinds.find((candidate) => candidate.kind === kind);
  if (!known) throw new StepsizeError("invalid-argument", `data: expected ${sourcesInWords}, got "${text}"`);
  for (const option of readOptionNames)
    if (options[option] !== undefined && !takesOption(text, option))
      invalidArgument(option, `none for ${patternOf(known)}, only for ${sourcesWith(option)}`, options[option]);
  return known.open(place, options);
}

function patternOf({ kind, place, withoutPlace }: TaskKind): string {
  if (place === undefined) return kind;
  return withoutPlace === "package" ? `${kind}[:${place}]` : `${kind}:${place}`;
}

function inWords(words: readonly string[]): string {
  return words.length > 1 ? `${words.slice(0, -1).join(", ")} or ${words.at(-1)}` : words.join();
}
