import { StepsizeError } from "./errors.js";
import { isError, messageOf } from "./realms.js";

/**
 * What `make` makes of new memory of the language's own: an array, a buffer.
 *
 * @param what what it is for, as the error names it
 * @throws StepsizeError `out-of-memory` where there is none, or more is asked for than an array can have
 */
export function allocate<T>(what: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!isError(error) || error.name !== "RangeError") throw error;
    throw new StepsizeError("out-of-memory", `${what}: there is no memory for it (${messageOf(error)})`, {
      cause: error,
    });
  }
}
