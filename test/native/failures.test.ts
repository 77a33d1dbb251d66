// An operation that fails late spoils its result and everything computed from it. Every read of spoiled memory rejects,
// and no other read does.
import { describe, expect, it } from "vitest";
import type { Device } from "#lib/native/index.js";
import { AdamW, SGD } from "#lib/optim/index.js";
import { PhiloxStream } from "#lib/random.js";
import {
  add,
  copy,
  crossEntropy,
  embedding,
  execute,
  fill,
  full,
  ones,
  reshape,
  type Tensor,
  tensor,
  tidy,
} from "#lib/tensor/index.js";
import { onEveryDevice } from "../support/devices.js";
import { expectError } from "../support/errors.js";

/** A result whose read rejects with this id, which is outside every table of the tests. */
function failing(device: Device, id: number, table = ones(device, [2, 3])): Tensor {
  return embedding(tensor(device, Int32Array.of(id)), table);
}

const words = (id: number) => ["embedding(int32[1], float32[2,3])", `id ${id} at position 0 is outside 0 to 1`];
const expectSpoiled = (read: () => unknown, id: number) => expectError(read, "device-failed", ...words(id));
const pause = () => new Promise((resolve) => setTimeout(resolve, 20));
const flat = async (x: Tensor) => [...(await x.read())];

await onEveryDevice("a failed operation", (device) => {
  it("rejects every read of its result, whoever waits in between", async () => {
    const good = full(device, [3], 7);
    const bad = failing(device, 9);
    await pause();
    expect(await flat(good)).toEqual([7, 7, 7]);
    await device.synchronize();
    for (let i = 0; i < 3; i++) await expectSpoiled(() => bad.read(), 9);
    const other = failing(device, 8);
    expect(await flat(good.add(1))).toEqual([8, 8, 8]);
    await expectSpoiled(() => bad.read(), 9);
    await expectSpoiled(() => other.read(), 8);
    await expectError(() => reshape(other, [3]).sum().item(), "device-failed", ...words(8));
    expect(await flat(good)).toEqual([7, 7, 7]);
  });

  it("rejects the reads of its caller only, if two callers alternate", async () => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 40 }, (_, i) =>
        i % 2 === 0 ? failing(device, 100 + i).read() : full(device, [3], i).multiply(2).read(),
      ),
    );
    for (const [i, outcome] of outcomes.entries()) {
      if (outcome.status === "rejected") expect(String(outcome.reason)).toContain(`id ${100 + i} at position 0`);
      else expect([...outcome.value]).toEqual([2 * i, 2 * i, 2 * i]);
      expect(outcome.status).toBe(i % 2 === 0 ? "rejected" : "fulfilled");
    }
  });

  it("spoils a chain of ten operations, even if intermediate tensors are disposed of", async () => {
    let x = failing(device, 5);
    for (let i = 0; i < 10; i++) x = tidy(() => x.add(ones(device, [3])).relu());
    await pause();
    await expectSpoiled(() => x.read(), 5);
  });

  it("is reported by every view of the memory, and by a tensor without elements", async () => {
    const bad = failing(device, 4);
    const view = reshape(bad, [3, 1]);
    bad.dispose();
    await expectSpoiled(() => view.read(), 4);
    await expectSpoiled(() => view.detach().read(), 4);
    const empty = embedding(tensor(device, Int32Array.of(3)), ones(device, [2, 0]));
    await expectError(() => empty.read(), "device-failed", "id 3 at position 0");
  });

  it("spoils a tensor that is changed in place, until it is overwritten", async () => {
    const x = ones(device, [3]);
    copy(x, reshape(failing(device, 7), [3]));
    await expectSpoiled(() => x.read(), 7);
    x.write(Float32Array.of(1, 2, 3));
    expect(await flat(x)).toEqual([1, 2, 3]);
    copy(x, reshape(failing(device, 6), [3]));
    fill(x, 4);
    expect(await flat(x)).toEqual([4, 4, 4]);
    copy(x, reshape(failing(device, 6), [3]));
    copy(x, tensor(device, [5, 6, 7]));
    expect(await flat(x)).toEqual([5, 6, 7]);
    // Results that were computed before stay valid.
    copy(x, reshape(failing(device, 3), [3]));
    const sum = x.sum();
    fill(x, 0);
    await expectSpoiled(() => sum.item(), 3);
  });

  it("does not affect memory that is reused", async () => {
    for (let round = 0; round < 20; round++) {
      const table = ones(device, [2, 3]);
      const bad = failing(device, 20 + round, table);
      const sums = bad.add(1);
      const reads = round % 2 === 0 ? sums.read() : undefined;
      reads?.catch(() => {});
      for (const one of [bad, sums, table]) one.dispose();
      // A new tensor is never written, but reading it must not report the error.
      const raw = device.native.create("float32", [1, 3]);
      const made = [ones(device, [1, 3]), tensor(device, [[1, 1, 1]]), full(device, [1, 3], 0.5).multiply(2)];
      await expect(device.native.read(raw)).resolves.toHaveLength(3);
      for (const one of made) expect(await flat(one)).toEqual([1, 1, 1]);
      if (reads) await expectError(() => reads, "device-failed", `id ${20 + round} `);
      for (const one of [...made, raw]) one.dispose();
      if (round % 5 === 4) device.trim();
    }
  });

  it("rejects the transfer of its result to another device", async () => {
    await expectSpoiled(() => failing(device, 9).to(device), 9);
  });

  it("does not affect synchronize, time or the memory statistics", async () => {
    const bad = failing(device, 9);
    await device.synchronize();
    expect(await device.time(() => bad.add(1))).toBeGreaterThanOrEqual(0);
    expect(device.memory().tensors).toBeGreaterThan(0);
    await expectSpoiled(() => bad.read(), 9);
  });

  describe("is reported by every operation of the table that can fail late:", () => {
    const run = (operation: string, inputs: Tensor[], attributes = {}) => execute(operation, inputs, attributes);
    const labels = Int32Array.of(0, 7);
    const logits = () => tensor(device, [[1, 2], [3, 4]]); // biome-ignore format: a matrix
    const low = (x: Tensor) => run("cast", [x], { dtype: "bfloat16" })[0] as Tensor;

    it.each(["float32", "bfloat16"])("embedding and cross-entropy, %s", async (type) => {
      const typed = (x: Tensor) => (type === "bfloat16" ? low(x) : x);
      const [row] = run("embedding", [tensor(device, Int32Array.of(0, -2)), typed(logits())]);
      await expectError(() => row?.read(), "device-failed", "embedding(", "id -2 at position 1 is outside 0 to 1");
      const [loss, logSums] = run("crossEntropy", [typed(logits()), tensor(device, labels)], { smoothing: 0.1 });
      for (const one of [loss, logSums])
        await expectError(() => one?.read(), "device-failed", "crossEntropy(", "label 7 in row 1 is outside 0 to 1");
      const statistics = [ones(device, []), ones(device, [2]), ones(device, [2]), ones(device, [])];
      const inputs = [typed(logits()), tensor(device, labels), ...statistics];
      const [gradient] = run("crossEntropyGradient", inputs, { smoothing: 0 });
      await expectError(() => gradient?.read(), "device-failed", "crossEntropyGradient(", "label 7 in row 1");
    });

    it("gradient of max-pooling", async () => {
      const gradient = ones(device, [1, 1, 1, 1]);
      const indices = tensor(device, Int32Array.of(99), [1, 1, 1, 1]);
      const [images] = run("maxPool2dGradient", [gradient, indices], { size: 2, height: 2, width: 2 });
      await expectError(
        () => images?.read(),
        "device-failed",
        "maxPool2dGradient(",
        "index 99 of image 0 lies outside the image's 4 positions",
      );
    });

    it("even if more operations fail than results are read", async () => {
      const x = ones(device, [3]);
      const bad = failing(device, 1000);
      for (let i = 0; i < 400; i++) {
        const one = failing(device, i % 3 === 0 ? 1 : 1001 + i);
        if (i === 397) copy(x, reshape(one, [3]));
        one.dispose();
      }
      await expectSpoiled(() => bad.read(), 1000);
      await expectSpoiled(() => x.read(), 1398);
      expect(await flat(failing(device, 0))).toEqual([1, 1, 1]);
    });

    it("even after thousands of operations on spoiled memory", async () => {
      const bad = failing(device, 50);
      const good = ones(device, [1, 3]);
      let [a, b] = [bad, good];
      for (let i = 0; i < 1500; i++) [a, b] = tidy(() => [add(a, good), add(b, good)]);
      await expectSpoiled(() => a.read(), 50);
      expect(await flat(b)).toEqual([1501, 1501, 1501]);
    });
  });

  describe("in a backward pass", () => {
    it("spoils the gradients of the loss's inputs, even if the computation of a gradient does not read it", async () => {
      const table = tensor(device, new Float32Array(6), [2, 3], { requiresGrad: true });
      const scale = tensor(device, [1, 1, 1], undefined, { requiresGrad: true });
      embedding(tensor(device, Int32Array.of(2)), table)
        .add(scale)
        .sum()
        .backward();
      await pause();
      for (const one of [table, scale]) await expectSpoiled(() => one.grad?.read(), 2);
      // The tensors themselves are valid.
      for (const one of [table, scale]) expect((await flat(one)).every(Number.isFinite)).toBe(true);
      const other = tensor(device, [1, 2], undefined, { requiresGrad: true });
      other.square().sum().backward();
      expect(await flat(other.grad as Tensor)).toEqual([2, 4]);
    });

    it("spoils an accumulated gradient until it is cleared", async () => {
      const x = tensor(device, [[1, 2]], undefined, { requiresGrad: true });
      crossEntropy(x, tensor(device, Int32Array.of(1))).backward();
      crossEntropy(x, tensor(device, Int32Array.of(5))).backward();
      crossEntropy(x, tensor(device, Int32Array.of(0))).backward();
      await expectError(() => x.grad?.read(), "device-failed", "label 5 in row 0");
      x.zeroGrad();
      crossEntropy(x, tensor(device, Int32Array.of(0))).backward();
      expect((await flat(x.grad as Tensor)).every(Number.isFinite)).toBe(true);
    });
  });

  describe("before an optimizer's step", () => {
    const parameter = (values: number[]) => tensor(device, values, undefined, { requiresGrad: true });
    const spoil = (x: Tensor, id: number) =>
      x
        .multiply(reshape(failing(device, id), [3]))
        .sum()
        .backward();

    it.each([{}, { clipNorm: 1 }, { nonFinite: "skip" as const }])(
      "spoils parameters, moments and counters until they are loaded: %j",
      async (options) => {
        const [w, elsewhere] = [parameter([1, 2, 3]), parameter([1, 2, 3])];
        const optimizer = new AdamW([w], { lr: 0.1, ...options });
        const others = new AdamW([elsewhere], { lr: 0.1, ...options });
        const good = (x: Tensor) => x.square().sum().backward();
        const step = (one: AdamW, x: Tensor) => {
          one.step();
          x.zeroGrad();
        };
        good(w);
        step(optimizer, w);
        const saved = new Map<string, Tensor>();
        for (const [name, one] of optimizer.stateDict()) saved.set(name, await one.to(device));
        const weights = await w.to(device);

        spoil(w, 30);
        step(optimizer, w);
        good(w);
        step(optimizer, w);
        good(elsewhere);
        step(others, elsewhere);
        await pause();
        await expectSpoiled(() => w.read(), 30);
        for (const one of optimizer.stateDict().values()) await expectSpoiled(() => one.read(), 30);
        await expectSpoiled(() => optimizer.stats(), 30);
        expect(await flat(elsewhere)).toEqual(await flat(weights));
        expect((await others.stats()).updates).toBe(1);

        copy(w, weights);
        await optimizer.loadStateDict(saved);
        expect(await flat(w)).toEqual(await flat(weights));
        for (const [name, one] of optimizer.stateDict()) expect(await flat(one)).toEqual(await flat(saved.get(name)!));
        good(w);
        step(optimizer, w);
        good(elsewhere);
        step(others, elsewhere);
        expect(await flat(w)).toEqual(await flat(elsewhere));
      },
    );

    it("does not spoil gradients that the step zeroes", async () => {
      const w = parameter([1, 2, 3]);
      const optimizer = new SGD([w], { lr: 0.5, zeroGradients: true });
      const saved = new Map<string, Tensor>();
      for (const [name, one] of optimizer.stateDict()) saved.set(name, await one.to(device));
      spoil(w, 31);
      optimizer.step();
      await expectSpoiled(() => w.read(), 31);
      w.write(Float32Array.of(1, 2, 3));
      await optimizer.loadStateDict(saved);
      expect(await flat(w.grad as Tensor)).toEqual([0, 0, 0]);
      w.sum().backward();
      optimizer.step();
      expect(await flat(w)).toEqual([0.5, 1.5, 2.5]);
    });

    it.runIf(device.name === "cpu")("is thrown by a step on arrays, which stay unchanged", async () => {
      const [array, twin] = [Float32Array.of(1, 2), Float32Array.of(1, 2)];
      const optimizer = new SGD([array], { lr: 1, momentum: 0.9, device });
      const others = new SGD([twin], { lr: 1, momentum: 0.9, device });
      for (const one of [optimizer, others]) one.step([Float32Array.of(1, 1)]);
      const kept = optimizer.stateDict();
      const updates = kept.get("updates")!;
      const momentum = [...kept].find(([name]) => name.endsWith(".momentumBuffer"))![1];
      const [state, counts] = [await momentum.to(device), await updates.to(device)];
      copy(momentum, reshape(embedding(tensor(device, Int32Array.of(40)), ones(device, [2, 2])), [2]));
      others.step([Float32Array.of(1, 1)]);
      await expectError(() => optimizer.step([Float32Array.of(1, 1)]), "device-failed", "id 40 at position 0");
      expect([...array]).toEqual([0, 1]);
      expect([...twin]).toEqual([...Float32Array.of(-1.9, -0.9)]);
      copy(momentum, state);
      copy(updates, counts);
      optimizer.step([Float32Array.of(1, 1)]);
      expect([...array]).toEqual([...twin]);
    });
  });

  describe("in captured work", () => {
    it("spoils the results of that replay and not of the next", async () => {
      const ids = tensor(device, Int32Array.of(0)).keep();
      const table = tensor(device, [[1, 2, 3], [4, 5, 6]]).keep(); // biome-ignore format: a matrix
      let out: Tensor | undefined;
      const capture = device.capture(() => {
        out = tidy(() => embedding(ids, table).multiply(2)).keep();
      });
      const result = out as Tensor;
      const reads: Promise<unknown>[] = [];
      for (let i = 0; i < 6; i++) {
        ids.write(Int32Array.of(i % 2 === 0 ? 1 : 60 + i));
        capture.replay();
        const read = result.read();
        read.catch(() => {});
        reads.push(read);
      }
      for (let i = 0; i < 6; i++)
        if (i % 2 === 0) expect(await reads[i]).toEqual(Float32Array.of(8, 10, 12));
        else await expectSpoiled(() => reads[i], 60 + i);
      // Several replays without a read between them.
      for (const id of [70, 1, 71, 0]) {
        ids.write(Int32Array.of(id));
        capture.replay(3);
      }
      await pause();
      expect(await flat(result)).toEqual([2, 4, 6]);
      capture.dispose();
    });

    it("spoils an accumulated tensor from that replay on, until it is overwritten", async () => {
      const ids = tensor(device, Int32Array.of(0)).keep();
      const table = ones(device, [2, 3]);
      const sum = full(device, [1, 3], 0);
      const other = full(device, [1, 3], 0);
      const capture = device.capture(() =>
        tidy(() => {
          copy(sum, sum.add(embedding(ids, table)));
          copy(other, other.add(1));
        }),
      );
      capture.replay(2);
      expect(await flat(sum)).toEqual([2, 2, 2]);
      ids.write(Int32Array.of(80));
      capture.replay();
      ids.write(Int32Array.of(81));
      capture.replay(2);
      ids.write(Int32Array.of(1));
      capture.replay();
      await expectSpoiled(() => sum.read(), 80);
      expect(await flat(other)).toEqual([6, 6, 6]);
      fill(sum, 0);
      capture.replay(300);
      expect(await flat(sum)).toEqual([300, 300, 300]);
      expect(await flat(other)).toEqual([306, 306, 306]);
      ids.write(Int32Array.of(82));
      capture.replay(300);
      await expectSpoiled(() => sum.read(), 82);
      capture.dispose();
    });

    it("spoils captured work that reads it, even with more failing operations than the device keeps faults", async () => {
      const ids = tensor(device, Int32Array.of(0)).keep();
      const table = ones(device, [2, 3]).keep();
      const results: Tensor[] = [];
      const capture = device.capture(() => {
        for (let i = 0; i < 200; i++) results.push(embedding(ids, table).keep());
      });
      capture.replay();
      for (const one of results) expect(await flat(one)).toEqual([1, 1, 1]);
      ids.write(Int32Array.of(90));
      capture.replay();
      for (const one of results)
        await expectError(() => one.read(), "device-failed", "embedding(int32[1], float32[2,3])");
      ids.write(Int32Array.of(1));
      capture.replay();
      for (const one of results) expect(await flat(one)).toEqual([1, 1, 1]);
      // The table is spoiled. The ids are valid.
      const bad = embedding(tensor(device, Int32Array.of(91, 91)), table);
      copy(table, bad);
      capture.replay();
      await expectError(() => results[150]?.read(), "device-failed", "id 91 at position");
      capture.dispose();
    });
  });

  it.each([1, 2, 3, 4])("spoils the same tensors as in a simple model, seed %d", async (seed) => {
    const draws = new PhiloxStream(seed, 0);
    const below = (n: number) => draws.integer(n);
    const chance = (p: number) => draws.uniform() < p;
    const table = tensor(device, [[1, 1, 1], [2, 2, 2]]).keep(); // biome-ignore format: a matrix
    // The content of each tensor: the number in all its elements, or the id of the failure that spoiled it.
    interface Known {
      readonly x: Tensor;
      content: { value: number } | { id: number };
    }
    let known: Known[] = [{ x: full(device, [1, 3], 0), content: { value: 0 } }];
    const pick = () => known[below(known.length)] as Known;
    const checks: Promise<void>[] = [];
    const check = ({ x, content }: Known) => {
      const read = x.read();
      checks.push(
        "id" in content
          ? expectError(() => read, "device-failed", `id ${content.id} at position 0`)
          : read.then((values) => expect([...values]).toEqual([content.value, content.value, content.value])),
      );
    };
    const [from, to] = [full(device, [1, 3], 0), full(device, [1, 3], 0)];
    const ids = tensor(device, Int32Array.of(0));
    let id = 0;
    let inFrom: Known["content"] = { value: 0 };
    let inTo: Known["content"] = { value: 0 };
    const capture = device.capture(() => tidy(() => copy(to, add(from, embedding(ids, table)))));
    let next = 1000; // the id of the next failure
    const sumOf = (a: Known["content"], b: Known["content"]): Known["content"] =>
      "id" in a ? a : "id" in b ? b : { value: a.value + b.value };
    for (let i = 0; i < 400; i++) {
      const action = below(11);
      const [a, b] = [pick(), pick()];
      if (action === 0) {
        const id = chance(0.5) ? below(2) : next++;
        const x = embedding(tensor(device, Int32Array.of(id)), table);
        known.push({ x, content: id < 2 ? { value: id + 1 } : { id } });
      } else if (action <= 3) {
        const content = sumOf(a.content, b.content);
        // Larger sums would not be exact.
        if ("value" in content && content.value > 2 ** 20) continue;
        known.push({ x: add(a.x, b.x), content });
      } else if (action === 4) {
        const value = below(100);
        const way = below(3);
        if (way === 0) copy(a.x, b.x);
        else if (way === 1) fill(a.x, value);
        else a.x.write(Float32Array.of(value, value, value));
        a.content = way === 0 ? b.content : { value };
      } else if (action === 5) {
        known.push({ x: tensor(device, [[i, i, i]]), content: { value: i } });
      } else if (action === 6) {
        copy(from, a.x);
        inFrom = a.content;
      } else if (action === 7) {
        id = chance(0.3) ? next++ : below(2);
        ids.write(Int32Array.of(id));
      } else if (action === 8) {
        capture.replay(1 + below(3));
        inTo = sumOf(inFrom, id < 2 ? { value: id + 1 } : { id });
      } else if (action === 9) {
        check(chance(0.3) ? { x: to, content: inTo } : a);
      } else if (known.length > 12) {
        a.x.dispose();
        known = known.filter((one) => one !== a);
      }
    }
    for (const one of known) check(one);
    await Promise.all(checks);
    capture.dispose();
  });
});
