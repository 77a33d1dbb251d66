import { stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { describe } from "../errors.js";
import { completeStudy, pathInWords, type Study, type TrainingStudy } from "../study/index.js";
import { parseSource, resolveSource } from "../tasks/index.js";
import { UsageError } from "./failure.js";
import { readSettings } from "./settings-file.js";
import { flagOf } from "./text.js";

/** A study and where it is to be made. */
export interface StudyRequest {
  readonly study: Study;
  /** As in `study.json`: what was given, without what was filled in. */
  readonly given: Readonly<Record<string, unknown>>;
  /** The study's folder; `undefined` for the next free one. */
  readonly folder: string | undefined;
  /** The file that the settings came from. */
  readonly file: string | undefined;
  /** Where data lie, if not where the file says: by name. */
  readonly sources: ReadonlyMap<string, string>;
}

/** Where a command's study comes from. */
export interface StudyFlags {
  readonly config?: string;
  readonly study?: string;
}

/**
 * The study that the flags ask for: a file's, with flags over it, or the flags' alone.
 * @throws UsageError for a file that cannot be used; StepsizeError `invalid-argument` for settings that cannot
 */
export async function requestedStudy(
  { config, study: folder }: StudyFlags,
  flags: Readonly<Record<string, unknown>>,
): Promise<StudyRequest> {
  const own = folder === undefined ? undefined : join(folder, "study.json");
  const file = config ?? (own !== undefined && (await isThere(own)) ? own : undefined);
  if (file === undefined) {
    const study = completeStudy(flags, labelOf(flags));
    return { study, given: flags, folder, file, sources: new Map() };
  }
  const stored = await readSettings(file, "the study's settings");
  const { data, ...others } = flags;
  const given = { ...stored, ...others };
  const study = completeStudy(given, labelOf(others, file));
  const into = folder ?? dirname(file);
  if (resolve(into, "study.json") === resolve(file)) expectSame(study, stored, others, file);
  return { study, given, folder: into, file, sources: data === undefined ? new Map() : moved(study, data as string[]) };
}

/**
 * Throws for a flag that would make another study of the one in its folder. One that says what the study is already does
 * not: the command that began a study also continues it.
 */
function expectSame(
  study: Study,
  stored: Readonly<Record<string, unknown>>,
  flags: Readonly<Record<string, unknown>>,
  file: string,
): void {
  if (isDeepStrictEqual(study, completeStudy(stored, labelOf({}, file)))) return;
  const changed = Object.keys(flags).find((field) => !isDeepStrictEqual(flags[field], stored[field])) as string;
  throw new UsageError(
    `${flagOf(changed)}: ${file} says what is in its folder; change it there, or name another folder with --study`,
  );
}

/** For each data set that was given another place, its name and the place. */
function moved(study: Study, given: readonly string[]): ReadonlyMap<string, string> {
  const { data = [] } = study as Partial<TrainingStudy>;
  const places = new Set(given.map(resolveSource));
  const stayed = data.filter((each) => places.has(resolveSource(each.source)));
  const others = given.filter((source) => !stayed.some((each) => resolveSource(each.source) === resolveSource(source)));
  return new Map(
    others.map((source) => {
      const { kind } = parseSource(source);
      const alike = data.filter((each) => parseSource(each.source).kind === kind && !stayed.includes(each));
      if (alike.length === 1 && alike[0]) return [alike[0].name, source];
      const there = data.map((each) => each.source).join(", ") || "none";
      throw new UsageError(`--data: expected where one of the study's data lies (${there}), got ${describe(source)}`);
    }),
  );
}

function labelOf(flags: Readonly<Record<string, unknown>>, file?: string) {
  return ([field, ...rest]: readonly PropertyKey[]): string => {
    if (file !== undefined && !(String(field) in flags)) return `${file}: ${pathInWords([field ?? "", ...rest])}`;
    return `${flagOf(String(field))}${pathInWords(rest)}`;
  };
}

async function isThere(path: string): Promise<boolean> {
  // Whatever else is wrong with it, reading it says.
  return stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code !== "ENOENT" && error.code !== "ENOTDIR",
  );
}
