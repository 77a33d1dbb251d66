import { StepsizeError } from "../errors.js";
import { isError } from "../realms.js";
import { finite, flag, list, numberThat, object, oneOf, optional, Place, type Schema, text } from "../schema.js";
import type { CategoryColumn, ClassTarget, NumberColumn, NumberTarget, TableEncoding, TableFormat } from "./table.js";

const texts = list(text, { words: "a list of texts" });

/** Returns a schema of objects of two kinds. */
function eitherKind<A extends { readonly kind: string }, B extends { readonly kind: string }>(
  first: { readonly kind: A["kind"]; readonly schema: Schema<A> },
  second: { readonly kind: B["kind"]; readonly schema: Schema<B> },
): Schema<A | B> {
  const kinds = object<{ readonly kind: string }>({ kind: oneOf([first.kind, second.kind]) });
  return (value, place) => (kinds(value, place).kind === first.kind ? first : second).schema(value, place);
}

const aboveZero = numberThat("a number above 0", (value) => value > 0 && value < Number.POSITIVE_INFINITY);

/** The schema of an encoding, for files. */
export const tableSchema = object<TableEncoding>({
  columns: list(
    eitherKind<NumberColumn, CategoryColumn>(
      {
        kind: "number",
        schema: object<NumberColumn>({
          kind: oneOf(["number"]),
          name: text,
          mean: finite,
          std: aboveZero,
          indicator: flag,
        }),
      },
      {
        kind: "category",
        schema: object<CategoryColumn>({ kind: oneOf(["category"]), name: text, categories: texts, missing: flag }),
      },
    ),
    { words: "a list of columns", min: 1 },
  ),
  target: eitherKind<NumberTarget, ClassTarget>(
    {
      kind: "number",
      schema: object<NumberTarget>({ kind: oneOf(["number"]), name: text, mean: finite, std: aboveZero }),
    },
    {
      kind: "class",
      schema: object<ClassTarget>({
        kind: oneOf(["class"]),
        name: text,
        classes: list(text, { words: "a list of at least two classes", min: 2, max: 65_536 }),
      }),
    },
  ),
  format: object<TableFormat>({
    separator: optional(text),
    decimal: oneOf([".", ","]),
    thousands: optional(text),
    missing: texts,
  }),
});

/**
 * Checks an argument that is an encoding.
 * @throws StepsizeError `invalid-argument` with the first field that is wrong
 */
export function expectTable(value: unknown): TableEncoding {
  try {
    return tableSchema(value, new Place("table"));
  } catch (cause) {
    if (!isError(cause)) throw cause;
    throw new StepsizeError("invalid-argument", `${cause.message}; it is the table of data.csv or of a card`, {
      cause,
    });
  }
}
