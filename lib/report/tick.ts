/** Formats a learning rate or a loss as a short tick: 0.01, 1e-5. */
export function tick(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e4 ? String(Number(value.toPrecision(4))) : value.toExponential().replace("e+", "e");
}
