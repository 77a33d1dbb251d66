// Tables from CSV files: what is read, how it is encoded, how it is divided, and what is refused.
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { AdamW, data, models, nn, openDevice, schedule, Trainer } from "#lib/index.js";
import { PhiloxStream } from "#lib/random.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";

const folder = temporaryFolders()();
let files = 0;

/** Writes a file and returns its path. */
function file(content: string | Uint8Array, ending = "csv"): string {
  const path = join(folder, `table-${files++}.${ending}`);
  writeFileSync(path, content);
  return path;
}

const stream = new PhiloxStream(7, 0);
/** A normal random number, by Box and Muller. */
const normal = () => Math.sqrt(-2 * Math.log(1 - stream.uniform())) * Math.cos(2 * Math.PI * stream.uniform());

interface House {
  readonly area: number;
  readonly rooms: number | undefined;
  readonly city: string;
  readonly price: number;
}

// The target is linear in the inputs, apart from noise of standard deviation 0.5.
const noise = 0.5;
const cities = ["Basel", "Bern", "Chur"];
const houses: readonly House[] = Array.from({ length: 800 }, (_, i): House => {
  const [area, rooms, city] = [80 + 20 * normal(), stream.integer(6), stream.integer(3)];
  return {
    area,
    rooms: i % 9 === 0 ? undefined : rooms,
    city: cities[city]!,
    price: 1000 + 0.1 * area + (i % 9 === 0 ? 2 : rooms) - 3 * city + noise * normal(),
  };
});
const housesFile = file(
  ["area,rooms,city,price", ...houses.map((h) => [h.area, h.rooms ?? "", h.city, h.price].join(","))].join("\n"),
);

/** Mean and population standard deviation in two passes of float64. */
function statisticsOf(values: readonly number[]): { mean: number; std: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const std = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
  return { mean, std };
}

const houseTable = await data.csv(housesFile, { target: "price", validation: 0.1 });

/** The houses of a part, found by their prices, which all differ. */
function housesOf(part: data.ArrayDataset): House[] {
  const { target } = houseTable.table;
  if (target.kind !== "number") throw new Error("expected a target of numbers");
  const byPrice = new Map(houses.map((h) => [Math.fround((h.price - target.mean) / target.std), h]));
  const labels = part.labels as data.FloatLabels;
  return Array.from(labels.data, (label) => byPrice.get(label)!);
}

describe("the encoding of a table", () => {
  const { table, train, validation, test } = houseTable;
  const trainHouses = housesOf(train);

  it("has all rows once, in three parts", () => {
    const all = [train, validation!, test].flatMap(housesOf);
    expect(all).not.toContain(undefined);
    expect(new Set(all).size).toBe(houses.length);
  });

  it("has the means and deviations of the training rows, to 1e-12 of float64 in two passes", () => {
    const [area, rooms, city] = table.columns;
    const known = (values: readonly (number | undefined)[]) => values.flatMap((value) => value ?? []);
    for (const [column, values] of [
      [area, trainHouses.map((h) => h.area)],
      [rooms, known(trainHouses.map((h) => h.rooms))],
      [table.target, trainHouses.map((h) => h.price)],
    ] as const) {
      const { mean, std } = statisticsOf(values);
      if (column?.kind !== "number") throw new Error("expected a column of numbers");
      expect(Math.abs(column.mean / mean - 1)).toBeLessThan(1e-12);
      expect(Math.abs(column.std / std - 1)).toBeLessThan(1e-12);
    }
    expect(area).toMatchObject({ name: "area", indicator: false });
    expect(rooms).toMatchObject({ name: "rooms", indicator: true });
    expect(city).toEqual({ kind: "category", name: "city", categories: cities, missing: false });
  });

  it("gives the inputs that the documentation describes: the datasets of fromArrays are equal", () => {
    const [area, rooms] = table.columns as [data.NumberColumn, data.NumberColumn];
    const inputs = trainHouses.map((h) => [
      (h.area - area.mean) / area.std,
      h.rooms === undefined ? 0 : (h.rooms - rooms.mean) / rooms.std,
      h.rooms === undefined ? 1 : 0,
      ...cities.map((city) => (h.city === city ? 1 : 0)),
    ]);
    expect(houseTable.inputs).toBe(6);
    expect(train.inputs).toMatchObject({ shape: [6], dtype: "float32" });
    expect(data.fromArrays({ inputs, labels: Int32Array.from(inputs, () => 0) }).inputs.data).toEqual(
      train.inputs.data,
    );
  });

  it("encodes rows of code as those of the file", () => {
    const { data: values, shape } = data.encodeRows(
      table,
      trainHouses.map(({ price: _, ...h }) => h),
    );
    expect(shape).toEqual([train.length, 6]);
    expect(values).toEqual(new Float32Array(train.inputs.data));
    const one = data.encodeRows(table, [{ area: "80", rooms: null, city: "Genf", more: true }]);
    expect([...one.data.slice(1)]).toEqual([0, 1, 0, 0, 0]);
  });
});

describe("training on a table", async () => {
  const device = await openDevice("cpu", { threads: 1 });
  afterAll(() => device.close());

  /** Trains a linear model and returns its losses and its predictions. */
  async function fit(train: data.ArrayDataset, steps: number, lr: number) {
    const config = { kind: "mlp", inputs: 6, hidden: [], classes: 1 } as const;
    const model = models.create(config, { device, seed: 1 });
    const optimizer = new AdamW(model.parameters(), {
      lr: schedule.uba({ budget: steps, maxLr: lr, phi: 2 }),
      weightDecay: 0,
    });
    const batches = train.batches({ size: 64, prefetch: 0 });
    const trainer = new Trainer({
      model,
      optimizer,
      loss: nn.meanSquaredError,
      data: batches,
      card: { config, table: houseTable.table },
    });
    const losses: number[] = [];
    for await (const { loss } of trainer.run()) losses.push(loss);
    return { losses, model, trainer };
  }

  it("gives the same losses, in every bit, as the same rows through fromArrays", async () => {
    const { train } = houseTable;
    const { data: inputs, shape } = train.inputs;
    const labels = train.labels as data.FloatLabels;
    const arrays = data.fromArrays({ inputs, shape, labels: { data: labels.data, shape: [1] } });
    const [first, second] = [await fit(train, 20, 0.01), await fit(arrays, 20, 0.01)];
    expect(first.losses).toEqual(second.losses);
  });

  it("recovers the noise of linear data as its error, within 3 % of the least squares in float64", async () => {
    const { test, train, table } = houseTable;
    const { model, trainer } = await fit(train, 600, 0.05);
    const { data: outputs } = await model.predict(new Float32Array(test.inputs.data), { shape: [6] });
    const predicted = data.decodeOutputs(table, outputs).map(({ value }) => Number(value));
    const testHouses = housesOf(test);
    const rmse = (values: readonly number[]) =>
      Math.sqrt(values.reduce((sum, value, i) => sum + (value - testHouses[i]!.price) ** 2, 0) / values.length);
    const best = rmse(leastSquares(housesOf(train), testHouses));
    // The test has about 160 rows, so the error of the best model is the noise within about 3 · 0.5/√320.
    expect(Math.abs(best - noise)).toBeLessThan(0.09);
    expect(rmse(predicted) / best).toBeGreaterThan(0.97);
    expect(rmse(predicted) / best).toBeLessThan(1.03);
    // The loss is the squared error in units of the target's variance in training.
    const { loss } = await trainer.evaluate(test.batches({ size: 50 }));
    if (table.target.kind !== "number") throw new Error("expected a target of numbers");
    expect(Math.sqrt(loss) * table.target.std).toBeCloseTo(rmse(predicted), 4);
  });
});

/** Predictions of ordinary least squares, by Gauss and Jordan on the normal equations, with a trace on the diagonal. */
function leastSquares(train: readonly House[], test: readonly House[]): number[] {
  const features = (h: House) => [
    1,
    h.area - 80,
    h.rooms ?? 0,
    h.rooms === undefined ? 1 : 0,
    ...cities.slice(1).map((city) => (h.city === city ? 1 : 0)),
  ];
  const n = features(train[0]!).length;
  const rows = Array.from({ length: n }, (_, i) =>
    Array.from({ length: n + 1 }, (_, j) => (i === j ? 1e-9 : 0) as number),
  );
  for (const h of train) {
    const x = features(h);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) rows[i]![j]! += x[i]! * x[j]!;
      rows[i]![n]! += x[i]! * (h.price - 1000);
    }
  }
  for (let i = 0; i < n; i++) {
    const pivot = rows[i]![i]!;
    rows[i] = rows[i]!.map((value) => value / pivot);
    for (let k = 0; k < n; k++) {
      const factor = rows[k]![i]!;
      if (k !== i) rows[k] = rows[k]!.map((value, j) => value - factor * rows[i]![j]!);
    }
  }
  return test.map((h) => 1000 + features(h).reduce((sum, x, i) => sum + x * rows[i]![n]!, 0));
}

describe("the parts of a table", () => {
  const lines = Array.from({ length: 1000 }, (_, i) => `${i},${(i * 37) % 11},${i % 2 ? "yes" : "no"}`);
  const head = "id,x,answer";
  const options = { target: "answer" } as const;

  /** The ids in the test part. */
  async function testIds(path: string, more: Partial<data.CsvOptions> = {}): Promise<number[]> {
    const { table, test } = await data.csv(path, { ...options, ...more });
    const [id] = table.columns as [data.NumberColumn];
    const values = test.inputs.data as Float32Array;
    return Array.from({ length: test.length }, (_, i) => Math.round(values[2 * i]! * id.std + id.mean));
  }

  it("depend on the content of a row and the seed alone", async () => {
    const path = file([head, ...lines].join("\n"));
    const ids = await testIds(path);
    // Four standard deviations of a binomial share.
    expect(Math.abs(ids.length - 200)).toBeLessThan(4 * Math.sqrt(1000 * 0.2 * 0.8));
    const reversed = file([head, ...[...lines].reverse()].join("\n"));
    expect((await testIds(reversed)).reverse()).toEqual(ids);
    appendFileSync(path, "\n2000,5,yes\n2001,6,no");
    expect((await testIds(path)).filter((id) => id < 2000)).toEqual(ids);
    expect(await testIds(path, { seed: 1 })).not.toEqual(ids);
    // A larger share takes further rows.
    expect(await testIds(path, { test: 0.4 })).toEqual(expect.arrayContaining(ids));
  });

  it("have equal rows in one part", async () => {
    const path = file([head, ...lines.slice(0, 20).flatMap((line) => Array<string>(5).fill(line))].join("\n"));
    const { train, test } = await data.csv(path, { ...options, test: 0.3 });
    expect(train.length % 5).toBe(0);
    expect(test.length % 5).toBe(0);
    expect(train.length + test.length).toBe(100);
  });

  it("can be two files", async () => {
    const [path, testFile] = [
      file([head, ...lines.slice(0, 30)].join("\n")),
      file("answer;x;id\nno;3;7\n;3;8\nyes;1;9\n"),
    ];
    const { train, test, notes } = await data.csv(path, { ...options, testFile });
    expect([train.length, test.length]).toEqual([30, 2]);
    expect([...(test.labels as Int32Array)]).toEqual([0, 1]);
    expect(notes).toEqual(['the target "answer" has 2 texts: classification']);
    await expectError(
      () => data.csv(path, { ...options, testFile, test: 0.5 }),
      "invalid-argument",
      "csv.test: expected none",
    );
    const unknown = file("answer,x,id\nmaybe,1,1\n");
    const words = 'line 2, column "answer": expected one of the classes "no", "yes", found "maybe"';
    await expectError(() => data.csv(path, { ...options, testFile: unknown }), "invalid-file", words);
  });

  it("have one digest for equal rows, and another for others", async () => {
    const digest = async (content: string) => {
      const { train } = await data.csv(file(content), options);
      return await train.batches({ size: 4, prefetch: 0 }).digest!();
    };
    const content = [head, ...lines.slice(0, 50)].join("\n");
    expect(await digest(content)).toBe(await digest(content.replaceAll(",", ";").replaceAll("\n", "\r\n")));
    expect(await digest(content)).not.toBe(await digest(content.replace("0,0,no", "0,1,no")));
  });
});

describe("what is read", () => {
  const rows = ["1.5,a,2", "2.5,b,3", "4,a,7.5", "8,b,1"];
  const plain = ["x,kind,y", ...rows].join("\n");
  const options = { target: "y", testFile: "" } as const;

  /** The training rows with all rows of the file, as plain values. */
  async function read(content: string | Uint8Array, more: Partial<data.CsvOptions> = {}) {
    const path = file(content);
    const { table, train } = await data.csv(path, { ...options, testFile: path, ...more });
    return { table, inputs: [...train.inputs.data], labels: [...(train.labels as data.FloatLabels).data] };
  }

  it("is the same with any separator, quotation marks, line ends, byte order mark and encoding", async () => {
    const expected = await read(plain);
    expect(expected.table.columns).toHaveLength(2);
    const utf16 = Buffer.from(`\ufeff${plain.replaceAll(",", "\t")}`, "utf16le");
    for (const content of [
      plain.replaceAll(",", ";"),
      plain.replaceAll(",", "\t"),
      plain.replaceAll(",", "|"),
      plain.replaceAll(",", " , "),
      `\ufeff${plain}`,
      plain.replaceAll("\n", "\r\n"),
      plain.replaceAll("\n", "\r"),
      `${plain}\n\n\n`,
      plain.replaceAll("\n", "\n\n"),
      plain.replace(/[^,\n]+/g, '"$&"'),
      utf16,
    ])
      expect(await read(content)).toEqual(expected);
    expect(await read(plain.replaceAll(",", "::"), { separator: "::" })).toMatchObject({ inputs: expected.inputs });
  });

  it("keeps separators, quotation marks and line ends in quoted cells", async () => {
    const path = file('name,y\n"a, ""b""\nc",1\nd,2\nd,4\n"a, ""b""\nc",3\n');
    const { table } = await data.csv(path, { target: "y", testFile: path });
    expect(table.columns).toEqual([{ kind: "category", name: "name", categories: ['a, "b"\nc', "d"], missing: false }]);
  });

  it("has decimal commas and separators of thousands if they are given", async () => {
    const expected = await read("x,y\n1234.5,1\n1000000,2.25\n-2.5,3");
    const german = "x;y\n1.234,5;1\n1.000.000;2,25\n-2,5;3";
    expect((await read(german, { decimal: ",", thousands: "." })).inputs).toEqual(expected.inputs);
    const english = 'x,y\n"1,234.5",1\n"1,000,000",2.25\n-2.5,3';
    expect((await read(english, { thousands: "," })).inputs).toEqual(expected.inputs);
    expect((await read("x;y\n1 234.5;1\n1 000 000;2.25\n-2.5;3", { thousands: " " })).inputs).toEqual(expected.inputs);
  });

  it("names columns without a name by their number", async () => {
    const { table } = await read(",x,y\n0,1,2\n1,3,4");
    expect(table.columns.map(({ name }) => name)).toEqual(["column 1", "x"]);
  });

  it("takes words for missing values as missing, in columns of numbers and of texts", async () => {
    const words = ["", "NA", "n/a", "NaN", "NULL", "#N/A", "<NA>"];
    const content = ["x,kind,y", ...words.map((word, i) => `${word},${word},${i}`), "5,a,9", "7,b,10"].join("\n");
    const { table, inputs } = await read(content);
    expect(table.columns).toEqual([
      { kind: "number", name: "x", mean: 6, std: 1, indicator: true },
      { kind: "category", name: "kind", categories: ["a", "b"], missing: true },
    ]);
    const missing = [0, 1, 0, 0, 1];
    expect(inputs).toEqual([...words.flatMap(() => missing), -1, 0, 1, 0, 0, 1, 0, 0, 1, 0]);
    const own = await read("x,y\n1,1\n-999,2\n3,3\nunknown,4", { missing: ["-999", "unknown"] });
    expect(own.table.columns).toEqual([{ kind: "number", name: "x", mean: 2, std: 1, indicator: true }]);
  });

  it("takes numbers as categories if they are named so, and leaves out columns that are ignored", async () => {
    const { table } = await read("zip,id,x,y\n3000,1,2,1\n4000,2,3,2\n3000,3,4,4", {
      categories: ["zip"],
      ignore: ["id"],
    });
    expect(table.columns.map(({ name, kind }) => [name, kind])).toEqual([
      ["zip", "category"],
      ["x", "number"],
    ]);
  });

  it("finds the task from the target", async () => {
    const taskOf = async (values: readonly (string | number)[], task?: data.CsvOptions["task"]) => {
      const path = file(["x,y", ...values.map((value, i) => `${i},${value}`)].join("\n"));
      const { table, outputs, notes } = await data.csv(path, { target: "y", testFile: path, task });
      return { target: table.target, outputs, notes };
    };
    const numbers = (n: number, modulo: number) => Array.from({ length: n }, (_, i) => i % modulo);
    expect((await taskOf(numbers(30, 3))).target).toEqual({ kind: "class", name: "y", classes: ["0", "1", "2"] });
    expect((await taskOf(numbers(30, 3))).notes.join()).toContain(
      "3 whole numbers: classification; if they are quantities",
    );
    expect((await taskOf(numbers(30, 11))).target.kind).toBe("number");
    expect((await taskOf(numbers(30, 7))).target.kind).toBe("number");
    expect((await taskOf(numbers(30, 3), "regression")).target.kind).toBe("number");
    expect(await taskOf(numbers(30, 12), "classification")).toMatchObject({ outputs: 12, notes: [] });
    expect((await taskOf(["b", "a", "b", "10"], "classification")).target).toMatchObject({ classes: ["10", "a", "b"] });
    expect((await taskOf([10, 9, 10, 9], "classification")).target).toMatchObject({ classes: ["9", "10"] });
  });

  it("leaves out constant and empty columns and rows without a target, and says so", async () => {
    const path = file("a,b,c,x,y\n1,k,,3,1\n1,k,,4,2\n1,k,,5,\n1,k,,5,4");
    const { table, train, notes } = await data.csv(path, { target: "y", testFile: path });
    expect(table.columns.map(({ name }) => name)).toEqual(["x"]);
    expect(train.length).toBe(3);
    expect(notes).toEqual([
      '1 row without "y" left out',
      'the target "y" has numbers: regression',
      'column "a" is left out: it is always 1 in the training rows',
      'column "b" is left out: it is always "k" in the training rows',
      'column "c" is left out: it has no value in the training rows',
    ]);
  });

  it("counts categories of other rows that the training rows do not have", async () => {
    const [path, testFile] = [file("x,y\na,1\nb,2\na,3"), file("x,y\nc,1\na,2\nd,2")];
    const { notes, test } = await data.csv(path, { target: "y", testFile });
    expect(notes.at(-1)).toBe('column "x" has 2 cells with categories that the training rows do not have');
    expect([...test.inputs.data]).toEqual([0, 0, 1, 0, 0, 0]);
  });
});

describe("predictions", () => {
  it("are the most likely class with its probability", () => {
    const format = { decimal: ".", missing: [] } as const;
    const columns = [{ kind: "number", name: "x", mean: 0, std: 1, indicator: false }] as const;
    const table = { columns, target: { kind: "class", name: "y", classes: ["a", "b"] }, format } as const;
    const [first, second, third] = data.decodeOutputs(table, Float32Array.of(0, Math.log(3), 700, -700, 2, 2));
    expect(first).toMatchObject({ value: "b", probability: expect.closeTo(0.75, 6) });
    expect(second).toEqual({ value: "a", probability: 1 });
    expect(third).toEqual({ value: "a", probability: 0.5 });
    const wrong = "outputs: expected a Float32Array with 2 values for each row";
    expectError(() => data.decodeOutputs(table, new Float32Array(3)), "invalid-argument", wrong);
    expectError(() => data.encodeRows(table, []), "invalid-argument", "rows: expected at least one object");
  });
});

describe("what is refused", () => {
  const refusals: readonly {
    readonly what: string;
    readonly content: string | Uint8Array;
    readonly options?: Partial<data.CsvOptions>;
    readonly words: string;
  }[] = [
    { what: "an empty file", content: "", words: "expected a line with the names of the columns, found nothing" },
    { what: "only line ends", content: "\n\n", words: "expected a line with the names of the columns" },
    { what: "a byte order mark alone", content: "\ufeff", words: "expected a line with the names of the columns" },
    { what: "names without rows", content: "x,y\n", words: 'expected rows with "y", found no rows' },
    { what: "rows without a target", content: "x,y\n1,\n2,NA", words: "found 2 rows without a value of it" },
    {
      what: "a short row",
      content: "x,y,z\n1,2,3\n4,5\n",
      words: "line 3: expected 3 cells, one for each name in the first line, found 2",
    },
    {
      what: "a long row",
      content: 'x,y\n"a\nb",2\n4,5,6\n',
      words: "line 4: expected 2 cells, one for each name in the first line, found 3",
    },
    {
      what: "a name twice",
      content: "x,y,x\n1,2,3",
      words: 'a different name for each column, found "x" more than once',
    },
    {
      what: "a column that is sometimes text",
      content: "x,y\n1,2\n\n3,4\nlarge,6\nhuge,6",
      words: 'line 5, column "x": expected a number, found "large" (and 1 more text; 2 numbers)',
    },
    {
      what: "a decimal comma",
      content: "x;y\n1;2\n3;4\n1,5;6",
      words: 'found "1,5" (2 numbers). If "," is the decimal mark, give it as decimal.',
    },
    {
      what: "separators of thousands",
      content: 'x,y\n1,2\n3,4\n"1,500",6',
      words: 'found "1,500" (2 numbers). If "," separates thousands, give it as thousands.',
    },
    { what: "infinity", content: "x,y\n1,2\n3,4\ninf,6", words: 'expected a number, found "inf"' },
    { what: "a number beyond float64", content: "x,y\n1,2\n3,4\n1e999,6", words: 'expected a number, found "1e999"' },
    {
      what: "a target that is sometimes text",
      content: "x,y\n1,2\n3,4\n5,soon",
      words: 'line 4, column "y": expected a number, found "soon" (1 text, 2 numbers)',
    },
    {
      what: "texts for regression",
      content: "x,y\n1,a\n3,b",
      options: { task: "regression" },
      words: 'line 2, column "y": expected a number for the task regression, found "a"',
    },
    { what: "one class", content: "x,y\n1,a\n3,a", words: 'expected at least two classes of "y", found only "a"' },
    {
      what: "one number",
      content: "x,y\n1,5\n3,5",
      options: { task: "regression" },
      words: 'expected different values of "y" in the training rows, found only 5',
    },
    {
      what: "no column to learn from",
      content: "x,y\n1,5\n1,6",
      words: 'column "x" is left out: it is always 1 in the training rows',
    },
    {
      what: "more than a thousand categories",
      content: ["x,y", ...Array.from({ length: 1001 }, (_, i) => `t${i},${i}`)].join("\n"),
      words: 'column "x": expected at most 1000 categories, found more; name the column in ignore',
    },
    {
      what: "more than a thousand classes",
      content: ["x,y", ...Array.from({ length: 1001 }, (_, i) => `${i},t${i}`)].join("\n"),
      words: 'column "y": expected at most 1000 classes',
    },
    {
      what: "a million columns",
      content: `${Array.from({ length: 1e6 }, (_, i) => `c${i}`).join()}\n`,
      options: { target: "c1" },
      words: "expected at most 65536 columns, found 1000000",
    },
    {
      what: "a quotation mark that is not closed",
      content: 'x,y\n1,"2\n3,4',
      words: 'line 3: expected a quotation mark (") at the end of a quoted cell',
    },
    {
      what: "a quotation mark inside a cell",
      content: 'x,y\n1,2\n3"5,4',
      words: "line 3: expected quotation marks only around a whole cell",
    },
    {
      what: "text behind a quoted cell",
      content: 'x,y\n"1"5,2\n',
      words: "line 2: expected quotation marks only around a whole cell",
    },
    {
      what: "other bytes than UTF-8",
      content: Buffer.from("x,y\nZ\xfcrich,2\n", "latin1"),
      words: "expected text in UTF-8 after byte 0, found other bytes; convert it",
    },
    { what: "an Excel file", content: Buffer.from("PK\x03\x04"), words: "found a ZIP archive, such as an Excel file" },
    { what: "a gzip archive", content: Buffer.from([0x1f, 0x8b, 8]), words: "found a gzip archive" },
    { what: "a Parquet file", content: "PAR1", words: "found a Parquet file" },
    { what: "bytes", content: Buffer.from([1, 0, 2]), words: "found bytes that are no text" },
  ];

  it.each(refusals)("$what", async ({ content, options, words }) => {
    const path = file(content);
    await expectError(() => data.csv(path, { target: "y", testFile: path, ...options }), "invalid-file", path, words);
  });

  const path = file("area,city,price\n1,a,2\n3,b,4\n");
  it.each<{ options: data.CsvOptions; words: string }>([
    { options: { target: "prise" }, words: "target: expected a column of" },
    { options: { target: "prise" }, words: '("area", "city", "price") (did you mean price?), got "prise"' },
    { options: { target: "price", ignore: ["aera"] }, words: "ignore: expected a column of" },
    { options: { target: "price", categories: ["town"] }, words: "categories: expected a column of" },
    { options: { target: "price", ignore: ["price"] }, words: "ignore: expected columns other than the target" },
    { options: { target: "" }, words: "csv.target: expected the name of a column" },
    { options: { target: "price", test: 1 }, words: "csv.test: expected a share above 0 and below 1, got 1" },
    { options: { target: "price", validation: 0 }, words: "csv.validation: expected a share" },
    { options: { target: "price", task: "ranking" as never }, words: 'csv.task: expected "regression"' },
    { options: { target: "price", missing: "x" as never }, words: "csv.missing: expected a list of texts" },
    { options: { target: "price", separator: "" }, words: "csv.separator: expected a text of 1 to 8" },
    { options: { target: "price", decimal: ";" as never }, words: 'csv.decimal: expected "." or ","' },
    { options: { target: "price", thousands: "0" }, words: "csv.thousands: expected one character" },
    { options: { target: "price", thousands: "." }, words: "csv.thousands: expected another mark" },
    { options: { target: "price", seed: -1 }, words: "csv.seed: expected a safe integer" },
    { options: { target: "price", columns: [] } as never, words: "csv: expected only the options target" },
  ])("$words", async ({ options, words }) => {
    await expectError(() => data.csv(path, options), "invalid-argument", words);
  });

  it("a first line of values, a missing file, and a part without rows", async () => {
    const values = file("5.1,3.5,1\n4.9,3,0\n");
    const words = "the first line must have their names";
    await expectError(() => data.csv(values, { target: "y" }), "invalid-argument", words);
    await expectError(() => data.csv(join(folder, "none.csv"), { target: "y" }), "not-found", "none.csv");
    await expectError(() => data.csv(folder, { target: "y" }), "invalid-file", "is a folder");
    await expectError(() => data.csv("", { target: "y" }), "invalid-argument", "file: expected the path");
    await expectError(
      () => data.csv(path, { target: "price", test: 1e-9 }),
      "invalid-file",
      "expected rows in the test part, found none of 2",
    );
    await expectError(
      () => data.csv(path, { target: "price", test: 1 - 1e-9 }),
      "invalid-file",
      "expected rows for training, found 2, all of them held back",
    );
  });

  it("goes on no more when the signal is aborted", async () => {
    const controller = new AbortController();
    const reading = data.csv(housesFile, { target: "price", signal: controller.signal });
    controller.abort(new Error("enough"));
    await expect(reading).rejects.toThrow("enough");
  });

  it("a file that changes while it is read", async () => {
    const changing = file("x,y\n1,2\n3,4\n");
    const reading = data.csv(changing, { target: "y", testFile: changing });
    const content = readFileSync(changing, "utf8");
    const changed = new Promise<void>((resolve) => {
      // The rows are counted before they are encoded. Rows are added until then.
      const timer = setInterval(() => appendFileSync(changing, "5,6\n".repeat(50)), 0);
      reading.catch(() => {}).finally(() => resolve(clearInterval(timer)));
    });
    await changed;
    writeFileSync(changing, content);
    await expectError(() => reading, "invalid-file", "the file changed while it was read");
  });
});
