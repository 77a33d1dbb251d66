import { StepsizeError } from "./errors.js";
import { isError, messageOf } from "./realms.js";

/**
 * Returns the array or buffer that `make` allocates.
 *
 * @param what purpose of the memory, for the error message
 * @throws StepsizeError `out-of-memory` if there is not enough memory, or if it is more than an array can have
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
