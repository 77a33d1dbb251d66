import { stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { describe } from "../../errors.js";
import { codeOf } from "../../realms.js";
import { completeStudy, pathInWords, type Study } from "../../study/index.js";
import { parseSource, resolveSource } from "../../tasks/index.js";
import { readSettings } from "../config/settings-file.js";
import { UsageError } from "../failure.js";
import { flagOf } from "../output/text.js";

/** A requested study, its folder and where its data are. */
export interface StudyRequest {
  readonly study: Study;
  /** The settings as given, without defaults. Written to `study.json`. */
  readonly given: Readonly<Record<string, unknown>>;
  /** The study's folder; `undefined` for the next free number under `studies`. */
  readonly folder: string | undefined;
  /** The file that settings were read from; `undefined` if all came from flags. */
  readonly file: string | undefined;
  /** New locations of data sets that are not where the file says, by the name of the data set. */
  readonly sources: ReadonlyMap<string, string>;
}

/** The flags that name a study's settings file and its folder. */
export interface StudyFlags {
  readonly config?: string;
  readonly study?: string;
}

/**
 * Reads the study that the flags request: the settings of a file, overridden by flags, or the flags alone.
 *
 * @throws UsageError if the file cannot be read, or if a flag would change a study that has a folder
 * @throws StepsizeError `invalid-argument` for wrong settings
 */
export async function requestedStudy(
  { config, study: folder }: StudyFlags,
  flags: Readonly<Record<string, unknown>>,
): Promise<StudyRequest> {
  const path = folder === undefined ? undefined : join(folder, "study.json");
  const file = config ?? (path !== undefined && (await exists(path)) ? path : undefined);
  if (file === undefined) {
    const study = completeStudy(flags, labelOf(flags));
    return { study, given: flags, folder, file, sources: new Map() };
  }
  const stored = await readSettings(file, "the study's settings");
  const { data, ...changes } = flags;
  const given = { ...stored, ...changes };
  const study = completeStudy(given, labelOf(changes, file));
  const studyFolder = folder ?? dirname(file);
  if (resolve(studyFolder, "study.json") === resolve(file)) expectSame(study, stored, changes, file);
  return {
    study,
    given,
    folder: studyFolder,
    file,
    sources: data === undefined ? new Map() : newLocations(study, data as string[]),
  };
}

/**
 * Checks that no flag changes the settings of a study that has a folder. A flag that repeats a setting is accepted, so
 * that the command that began a study also continues it.
 *
 * @throws UsageError naming the flag and the file
 */
function expectSame(
  study: Study,
  stored: Readonly<Record<string, unknown>>,
  flags: Readonly<Record<string, unknown>>,
  file: string,
): void {
  if (isDeepStrictEqual(study, completeStudy(stored, labelOf({}, file)))) return;
  for (const [field, value] of Object.entries(flags)) {
    if (isDeepStrictEqual(value, stored[field])) continue;
    throw new UsageError(
      `${flagOf(field)}: expected the setting in ${file}, got ${describe(value)}; edit that file, or name another folder with --study`,
    );
  }
}

/**
 * Finds the data sets that `--data` gives a new location, and returns the location by the data set's name.
 * @throws UsageError for a source that is not of the kind of exactly one remaining data set
 */
function newLocations(study: Study, given: readonly string[]): ReadonlyMap<string, string> {
  const data = study.kind === "training" ? study.data : [];
  const locations = new Set(given.map(resolveSource));
  const unmoved = data.filter(({ source }) => locations.has(resolveSource(source)));
  const unmovedLocations = new Set(unmoved.map(({ source }) => resolveSource(source)));
  const newSources = given.filter((source) => !unmovedLocations.has(resolveSource(source)));
  return new Map(
    newSources.map((source) => {
      const { kind } = parseSource(source);
      const moved = data.filter((dataSet) => parseSource(dataSet.source).kind === kind && !unmoved.includes(dataSet));
      const [dataSet] = moved;
      if (moved.length === 1 && dataSet) return [dataSet.name, source];
      const known = data.map((dataSet) => dataSet.source).join(", ") || "none";
      throw new UsageError(`--data: expected a location of the study's data (${known}), got ${describe(source)}`);
    }),
  );
}

function labelOf(flags: Readonly<Record<string, unknown>>, file?: string) {
  return ([field, ...rest]: readonly PropertyKey[]): string => {
    if (field === undefined) return file ?? "the study";
    if (file !== undefined && !(String(field) in flags)) return `${file}: ${pathInWords([field, ...rest])}`;
    return `${flagOf(String(field))}${typeof rest[0] === "string" ? "." : ""}${pathInWords(rest)}`;
  };
}

async function exists(path: string): Promise<boolean> {
  // Any other problem is reported when the file is read.
  return stat(path).then(
    () => true,
    (error: unknown) => codeOf(error) !== "ENOENT" && codeOf(error) !== "ENOTDIR",
  );
}
