import { expect } from "vitest";

/** Expects the call to throw, or its promise to reject with, a StepsizeError of this code that contains all words. */
export async function expectError(call: () => unknown, code: string, ...words: string[]): Promise<void> {
  let error: unknown;
  try {
    await call();
  } catch (thrown) {
    error = thrown;
  }
  expect(error, "an error").toBeInstanceOf(Error);
  expect(error).toMatchObject({ name: "StepsizeError", code });
  for (const word of words) expect((error as Error).message).toContain(word);
}
