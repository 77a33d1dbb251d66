import { type Device, openDevice } from "#lib/native/index.js";

/** Prints what is wrong with the arguments, and exits. */
export function refuse(message: string): never {
  console.error(message);
  process.exit(2);
}

export function wholeNumber(flag: string, text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isSafeInteger(value) || value < 1)
    refuse(`${flag}: expected a whole number of at least 1, got "${text}"`);
  return value;
}

/** The elements of `all` with these names, or all of them. */
export function chosenOf<T>(all: readonly T[], named: string | undefined, nameOf: (one: T) => string): T[] {
  const names = named?.split(",");
  const known = [...new Set(all.map(nameOf))];
  const unknown = names?.find((name) => !known.includes(name));
  if (unknown !== undefined) refuse(`--only: expected some of ${known.join(", ")}, got "${unknown}"`);
  return all.filter((one) => names?.includes(nameOf(one)) ?? true);
}

export async function deviceOf(name: string): Promise<Device> {
  return openDevice(name).catch((error: unknown) => refuse((error as Error).message));
}
