import { expect } from "vitest";

/** Fails unless the call throws, or its promise rejects with, a StepsizeError of this code with all of these words. */
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
