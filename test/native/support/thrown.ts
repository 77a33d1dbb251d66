/** Returns what a call throws. */
export function thrown(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    const { name, code, message } = error as Error & { code: string };
    return { name, code, message };
  }
  return "nothing";
}
