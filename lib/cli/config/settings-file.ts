import { isNotFound, StepsizeError } from "../../errors.js";
import { readJsonFile } from "../../read-file.js";
import { anything, dictionary } from "../../schema.js";
import { UsageError } from "../failure.js";

const settings = dictionary(anything, "an object of settings");

/**
 * Reads a JSON file of settings. The caller checks its fields.
 *
 * @param what names the contents in an error message, such as "the configuration"
 * @throws UsageError if the file does not exist, cannot be read, or is not a JSON object
 */
export async function readSettings(path: string, what: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    return await readJsonFile(path, settings);
  } catch (error) {
    if (!(error instanceof StepsizeError)) throw error;
    const message = isNotFound(error) ? `${path}: ${what} cannot be read (there is no such file)` : error.message;
    throw new UsageError(message, { cause: error });
  }
}
