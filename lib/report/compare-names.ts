const collator = new Intl.Collator("en", { numeric: true });

/** Compares names so that 10 comes after 9. */
export function compareNames(a: string, b: string): number {
  return collator.compare(a, b);
}
