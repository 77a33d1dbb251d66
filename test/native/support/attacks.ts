// Calls with one deliberate mistake each. Every call either throws an Error or returns; calls with `refused` must
// throw.
import { type Anything, addon, expectUsable, floats, id, listOf, openSmall, options } from "./surface.js";

interface Attack {
  readonly run: (device: Anything) => unknown;
  /** Words of the error that it must throw. */
  readonly refused?: string;
  /** Whether it applies only to the CPU. */
  readonly cpuOnly?: boolean;
}

/** An array whose element at 0 runs code when it is read. */
function trap(array: Anything[], action: () => Anything): Anything[] {
  return Object.defineProperty(array, 0, { get: action, enumerable: true });
}

function detached(array: Anything): Anything {
  structuredClone(array.buffer, { transfer: [array.buffer] });
  return array;
}

const accessors = ["shape", "dtype", "version", "disposed"];

export const attacks: Readonly<Record<string, Attack>> = {
  "a constructor without new": { run: () => addon.NativeDevice(), refused: "" },
  "the tensor class without new": { run: (d) => Reflect.apply(floats(d, [1]).constructor, d, []), refused: "" },
  "the tensor class with new": { run: (d) => new (floats(d, [1]).constructor)(), refused: "cannot be constructed" },
  "a subclass of the tensor class": {
    run: (d) => new (class extends floats(d, [1]).constructor {})(),
    refused: "cannot be constructed",
  },
  "a subclass of the device class": {
    run: async () => {
      class Subclass extends (addon.NativeDevice as new (options: object) => Anything) {}
      const device: Anything = new Subclass(options(1));
      await expectUsable(device);
      await device.close();
    },
  },
  "methods of a device on a tensor": {
    run: (d) => addon.NativeDevice.prototype.memory.call(floats(d, [1])),
    refused: "Illegal invocation",
  },
  "methods of a tensor on a device": {
    run: (d) => floats(d, [1]).dispose.call(d),
    refused: "Illegal invocation",
  },
  ...Object.fromEntries(
    accessors.map((name): [string, Attack] => [
      `the accessor ${name} of a tensor on a device`,
      {
        run: (d) => {
          const prototype = Object.getPrototypeOf(floats(d, [1]));
          return Object.getOwnPropertyDescriptor(prototype, name)!.get!.call(d);
        },
        refused: "",
      },
    ]),
  ),
  ...Object.fromEntries(
    accessors.map((name): [string, Attack] => [
      `the accessor ${name} of a tensor on its prototype and on a plain object`,
      {
        run: (d) => {
          const prototype = Object.getPrototypeOf(floats(d, [1]));
          const get = Object.getOwnPropertyDescriptor(prototype, name)!.get!;
          let thrown = 0;
          for (const wrong of [
            prototype,
            {},
            undefined,
            Object.create(floats(d, [1])),
            new Proxy(floats(d, [1]), {}),
          ]) {
            try {
              get.call(wrong);
            } catch (error) {
              thrown += error instanceof Error ? 1 : 0;
            }
          }
          if (thrown === 5) throw new Error("all refused");
        },
        refused: "all refused",
      },
    ]),
  ),
  "a proxy of a tensor": { run: (d) => d.read(new Proxy(floats(d, [1]), {})), refused: "expected a tensor" },
  "an object that inherits from a tensor": { run: (d) => d.read(Object.create(floats(d, [1]))), refused: "a tensor" },
  "a tensor of another device": {
    run: (d) => d.enqueue(id("add"), [floats(d, [1]), floats(openSmall(), [1])]),
    refused: "add: tensor 1: the tensor is on another device",
  },
  "a disposed tensor": {
    run: (d) => {
      const x = floats(d, [1]);
      x.dispose();
      x.dispose();
      d.enqueue(id("exp"), [x]);
    },
    refused: "exp: tensor 0: the tensor was disposed",
  },
  "accessors of a disposed tensor": {
    run: (d) => {
      const x = floats(d, [2, 3]);
      x.dispose();
      if (String([x.shape, x.dtype, x.disposed]) !== "2,3,float32,true") throw new Error(String(x.shape));
    },
  },
  "a closed device": {
    run: async () => {
      const device = openSmall();
      const x = floats(device, [1]);
      await device.close();
      x.dispose();
      device.memory();
    },
    refused: "the device was closed",
  },
  "reading from a device that closes at once": {
    run: async () => {
      const device = openSmall();
      const x = floats(device, [3], 4);
      const read = device.read(x);
      const closed = device.close();
      if ((await read)[2] !== 4) throw new Error("lost");
      await closed;
    },
  },
  "tensors whose reading disposes of an earlier one": {
    run: (d) => {
      const x = floats(d, [4096]);
      const victim = floats(d, [4096]);
      // The element at 1 is read after the tensor at 0 was checked.
      const list: Anything[] = [victim, x];
      Object.defineProperty(list, 1, {
        get() {
          victim.dispose();
          d.trim();
          return x;
        },
      });
      return d.enqueue(id("copy"), list);
    },
    refused: "disposed",
  },
  "an attribute whose reading disposes the tensor": {
    run: (d) => {
      const x = floats(d, [4096]);
      const attributes = {
        get value() {
          x.dispose();
          d.trim();
          return 1;
        },
      };
      return d.enqueue(id("fill"), [x], attributes);
    },
    refused: "disposed",
  },
  "a shape whose reading disposes the tensor": {
    run: (d) => {
      const x = floats(d, [2]);
      const shape = trap([2], () => {
        x.dispose();
        return 2;
      });
      return d.reshape(x, shape);
    },
    refused: "disposed",
  },
  "an attribute whose reading closes the device": {
    run: async () => {
      const device = openSmall();
      const x = floats(device, [2]);
      let closed: Promise<void> | undefined;
      const attributes = {
        get scale() {
          closed = device.close();
          return 1;
        },
      };
      try {
        device.enqueue(id("affine"), [x], attributes);
      } finally {
        await closed;
      }
    },
    refused: "the device was closed",
  },
  "a shape whose reading closes the device": {
    run: async () => {
      const device = openSmall();
      let closed: Promise<void> | undefined;
      const shape = trap([2], () => {
        closed = device.close();
        return 2;
      });
      try {
        device.create("float32", shape);
      } finally {
        await closed;
      }
    },
    refused: "the device was closed",
  },
  "a getter that throws": {
    run: (d) =>
      d.enqueue(id("fill"), [floats(d, [1])], {
        get value() {
          throw new Error("of the getter");
        },
      }),
    refused: "of the getter",
  },
  "options whose getters throw": {
    run: () =>
      new addon.NativeDevice({
        get threads() {
          throw new Error("of the option");
        },
      }),
    refused: "of the option",
  },
  "an option that changes while it is read": {
    cpuOnly: true,
    run: () => {
      let reads = 0;
      return new addon.NativeDevice({
        get instructionSet() {
          return reads++ === 0 ? "portable" : {};
        },
      });
    },
  },
  "a detached array": {
    run: (d) => d.create("float32", [4], detached(new Float32Array(4))),
    refused: "data: ",
  },
  "a detached array for an empty tensor": { run: (d) => d.create("float32", [0], detached(new Float32Array(4))) },
  "a detached array in write": {
    run: (d) => d.write(floats(d, [4]), detached(new Float32Array(4))),
    refused: "data: ",
  },
  "a detached array for a part": {
    run: (d) => d.writePart(floats(d, [4]), 0, detached(new Float32Array(4))),
  },
  "a part that goes beyond the end": {
    run: (d) => d.writePart(floats(d, [2, 2]), 3, new Float32Array(2)),
    refused: "data: expected at most 1 elements from 3 on, for shape [2,2], got 2",
  },
  "an empty part after the end": {
    run: async (d) => {
      const x = floats(d, [4], 3);
      d.writePart(x, 4, new Float32Array(0));
      const part = await d.readPart(x, 4, 0);
      if (part.length !== 0 || String(await d.read(x)) !== "3,3,3,3") throw new Error("other values");
    },
  },
  "a part before the beginning": {
    run: (d) => d.writePart(floats(d, [4]), -1, new Float32Array(2)),
    refused: "first: expected a whole number from 0 to 4",
  },
  "a part that begins at NaN": { run: (d) => d.readPart(floats(d, [4]), Number.NaN, 1), refused: "first: expected" },
  "a part that begins after 2^53 elements": { run: (d) => d.readPart(floats(d, [4]), 2 ** 53, 1), refused: "first: " },
  "a part that is read beyond the end": {
    run: (d) => d.readPart(floats(d, [4]), 3, 2),
    refused: "count: expected a whole number from 0 to 1",
  },
  "a part of a negative number of elements": {
    run: (d) => d.readPart(floats(d, [4]), 0, -1),
    refused: "count: expected",
  },
  "a part of another type": {
    run: (d) => d.writePart(floats(d, [4]), 0, new Float64Array(2)),
    refused: "data: expected a Float32Array",
  },
  "a part of a disposed tensor": {
    run: (d) => {
      const x = floats(d, [4]);
      x.dispose();
      return d.readPart(x, 0, 1);
    },
    refused: "tensor: the tensor was disposed",
  },
  "a part of a tensor of another device": {
    run: (d) => d.writePart(floats(openSmall(), [4]), 0, new Float32Array(1)),
    refused: "the tensor is on another device",
  },
  "a part that is written while work is captured": {
    run: (d) => {
      const x = floats(d, [4]);
      d.beginCapture();
      try {
        d.writePart(x, 0, new Float32Array(1));
      } finally {
        d.endCapture().dispose();
      }
    },
    refused: "writePart cannot be captured",
  },
  "a view of a SharedArrayBuffer": {
    run: async (d) => {
      const shared = new Float32Array(new SharedArrayBuffer(16), 4, 3).fill(2.5);
      const x = d.create("float32", [3], shared);
      d.write(x, shared);
      if (String(await d.read(x)) !== "2.5,2.5,2.5") throw new Error("other values");
    },
  },
  "an array of the wrong type": {
    run: (d) => d.create("float32", [2], new Float64Array(2)),
    refused: "data: expected a Float32Array",
  },
  "an array of the wrong length": { run: (d) => d.create("float32", [2], new Float32Array(3)), refused: "2 elements" },
  "seven axes": { run: (d) => d.create("float32", [1, 1, 1, 1, 1, 1, 1]), refused: "at most 6" },
  "a tensor too large for any machine": {
    run: (d) => d.create("float32", [2 ** 40, 2 ** 40]),
    refused: "more elements",
  },
  "an empty tensor whose other sizes overflow": {
    run: (d) => d.create("float32", [0, 2 ** 40, 2 ** 40]),
    refused: "more elements",
  },
  "a result whose number of elements overflows to zero": {
    run: (d) => d.enqueue(id("expand"), [floats(d, [8192])], { axis: 0, size: 2 ** 51 }),
    refused: "expand",
  },
  "an empty product whose sizes overflow": {
    run: (d) => {
      const size = 2 ** 39;
      const [a, b] = [d.create("float32", [size, 0]), d.create("float32", [0, size])];
      return d.enqueue(id("matmul"), [a, b]);
    },
    refused: "matmul",
  },
  "an image gradient whose number of elements overflows": {
    run: (d) => {
      const size = 2 ** 24;
      const window = { size: 1, stride: size, padding: 0, height: size, width: size };
      return d.enqueue(id("averagePool2dGradient"), [floats(d, [256, 1, 1, 256])], window);
    },
    refused: "averagePool2dGradient",
  },
  "the largest stride": {
    run: async (d) => {
      const window = { stride: 2 ** 24, padding: 0, height: 3, width: 3 };
      const weights = floats(d, [1, 1, 1, 1], 5);
      const [x] = d.enqueue(id("conv2dInputGradient"), [floats(d, [1, 1, 1, 1], 2), weights], window);
      if (String(await d.read(x)) !== "10,0,0,0,0,0,0,0,0") throw new Error("other values");
    },
  },
  "weights without channels": {
    run: async (d) => {
      const [g, x] = [floats(d, [1, 3, 3, 2]), floats(d, [1, 3, 3, 0])];
      d.enqueue(id("conv2dWeightGradient"), [x, g], { height: 1, width: 1 });
      d.enqueue(id("conv2dInputGradient"), [g, floats(d, [2, 1, 1, 0])], { height: 3, width: 3 });
      d.enqueue(id("conv2d"), [x, floats(d, [2, 1, 1, 0])]);
      await d.synchronize();
    },
  },
  "a window that covers only padding": {
    run: (d) => d.enqueue(id("maxPool2d"), [floats(d, [1, 0, 0, 1])], { size: 2, stride: 1, padding: 1 }),
    refused: "maxPool2d",
  },
  "indices outside the image": {
    run: async (d) => {
      const indices = d.create("int32", [1, 1, 1, 2], Int32Array.of(-1, 2 ** 31 - 1));
      const window = { size: 1, height: 1, width: 1 };
      const [images] = d.enqueue(id("maxPool2dGradient"), [floats(d, [1, 1, 1, 2]), indices], window);
      await d.read(images!);
    },
    refused: "lies outside the image",
  },
  "places outside the scalars": {
    run: (d) => {
      const x = listOf(d, [floats(d, [2])], Int32Array.of(7));
      d.enqueue(id("update"), [floats(d, [1, 17]), d.create("int32", [1])], { rule: "sgd" }, [x, x]);
    },
    refused: "place 7 of 1",
  },
  "invalid places": {
    run: (d) => listOf(d, [floats(d, [2])], Int32Array.of(-1)),
    refused: "places[0]: expected a whole number ≥ 0",
  },
  "too few places": { run: (d) => listOf(d, [floats(d, [2])], Int32Array.of()), refused: "places: expected one for" },
  "a list of another device": {
    run: (d) => d.enqueue(id("gradientNorm"), [], {}, [listOf(openSmall(), [])]),
    refused: "list 0: the list is of another device",
  },
  "a list with a tensor of another device": {
    run: (d) => listOf(d, [floats(openSmall(), [1])]),
    refused: "tensors[0]: the tensor is on another device",
  },
  "a list whose tensor was disposed of later": {
    run: (d) => {
      const x = floats(d, [2]);
      const list = listOf(d, [x]);
      x.dispose();
      // Its memory now belongs to another tensor.
      floats(d, [2]);
      d.enqueue(id("gradientNorm"), [], {}, [list]);
    },
    refused: "list 0[0]: the tensor was disposed",
  },
  "a list that disposes its tensors while it is read": {
    run: (d) => {
      const x = floats(d, [2]);
      listOf(d, [
        x,
        { get devicePointer() { x.dispose(); return 16n; }, length: 4 }, // biome-ignore format: one line
      ]);
    },
    refused: "tensors[0]: the tensor was disposed",
  },
  "device memory on the CPU": {
    cpuOnly: true,
    run: (d) => listOf(d, [{ devicePointer: 16n, length: 4 }]),
    refused: "devicePointer: the CPU has no device memory",
  },
  "a list whose array was detached later": {
    cpuOnly: true,
    run: (d) => {
      const array = new Float32Array(4);
      const list = listOf(d, [array]);
      detached(array);
      d.enqueue(id("gradientNorm"), [], {}, [list]);
    },
    refused: "detached",
  },
  "the list class with new": { run: (d) => new (d.list().constructor)(), refused: "cannot be constructed" },
  "a tensor instead of a list": {
    run: (d) => d.enqueue(id("gradientNorm"), [], {}, [floats(d, [2])]),
    refused: "list 0: expected a list of tensors",
  },
  "lists of different numbers of tensors": {
    run: (d) => {
      const lists = [listOf(d, [floats(d, [2])]), listOf(d, [])];
      d.enqueue(id("update"), [floats(d, [1, 17]), d.create("int32", [1])], { rule: "sgd" }, lists);
    },
    refused: "list 1 has 0 tensors, the parameters are 1",
  },
  "an update of integers": {
    run: (d) => {
      const lists = [listOf(d, [d.create("int32", [2])]), listOf(d, [floats(d, [2])])];
      d.enqueue(id("update"), [floats(d, [1, 17]), d.create("int32", [1])], { rule: "sgd" }, lists);
    },
    refused: "parameters[0] must be float32 or bfloat16",
  },
  "an unknown update rule": {
    run: (d) => d.enqueue(id("update"), [floats(d, [1, 17]), d.create("int32", [1])], { rule: "magic" }, []),
    refused: "rule: expected one of sgd, sgdMomentum",
  },
  "a read while work is captured": {
    run: (d) => {
      d.beginCapture();
      try {
        d.read(floats(d, [2]));
      } finally {
        d.endCapture().dispose();
      }
    },
    refused: "a tensor made from data cannot be captured",
  },
  "a capture inside a capture": {
    run: (d) => {
      d.beginCapture();
      try {
        d.beginCapture();
      } finally {
        d.endCapture().dispose();
      }
    },
    refused: "a capture inside a capture cannot be captured",
  },
  "the end of a capture that was not begun": { run: (d) => d.endCapture(), refused: "nothing is being captured" },
  "a replay of work that was disposed": {
    run: (d) => {
      d.beginCapture();
      const graph = d.endCapture();
      graph.dispose();
      graph.replay(1);
    },
    refused: "was disposed",
  },
  "tensors disposed between capture and replay": {
    run: async (d) => {
      const x = floats(d, [4, 4]);
      d.beginCapture();
      const [y] = d.enqueue(id("cast"), [x], { dtype: "float64" });
      y.dispose();
      const graph = d.endCapture();
      x.dispose();
      floats(d, [4, 4]);
      graph.replay(3);
      graph.dispose();
      await d.synchronize();
    },
  },
  "a list of four billion tensors": {
    run: (d) => {
      const list: Anything[] = [];
      list.length = 2 ** 32 - 1;
      return d.list().set(list);
    },
    refused: "",
  },
  "one tensor as every argument": {
    run: async (d) => {
      const x = floats(d, [4, 4]);
      d.enqueue(id("copy"), [x, x]);
      d.enqueue(id("matmul"), [x, x]);
      const list = listOf(d, new Array(5000).fill(x));
      d.enqueue(id("gradientNorm"), [], {}, [list]);
      d.enqueue(id("update"), [floats(d, [5000, 17]), d.create("int32", [5000])], { rule: "adam" }, [
        list,
        list,
        list,
        list,
      ]);
      await d.synchronize();
    },
  },
  "an unknown operation": { run: (d) => d.enqueue(addon.operations.length, []), refused: "operation: " },
  "an unknown attribute": {
    run: (d) => d.enqueue(id("matmul"), [floats(d, [1, 1]), floats(d, [1, 1])], { transposea: true }),
    refused: 'there is no attribute "transposea"',
  },
  "an invalid error class": { run: () => addon.setErrorClass(3), refused: "errorClass" },
  "running out of stack inside a call": {
    run: (d) => {
      const before = d.memory().tensors;
      const kept: Anything[] = [];
      const dive = (): void => {
        kept.push(d.create("float32", [1]));
        kept.push(...d.enqueue(id("cast"), [kept.at(-1)], { dtype: "float64" }));
        dive();
      };
      try {
        dive();
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
      }
      // A call that failed halfway must not keep memory or reserve the next tensor.
      for (const one of kept) one.dispose();
      if (d.memory().tensors !== before) throw new Error(`${d.memory().tensors - before} tensors were lost`);
      new kept[0].constructor();
    },
    refused: "cannot be constructed",
  },
  "no memory for the second result": {
    run: (d) => {
      // Six tensors of 4.2 MB are held. The 32 MB have room for the values of another pooling but not for its indices.
      const x = d.create("float32", [1, 1000, 1000, 1]);
      const more = [d.create("float32", [1000, 1000]), ...pool(), ...pool()];
      const before = d.memory().allocated;
      try {
        pool();
      } finally {
        const lost = d.memory().allocated - before;
        if (lost !== 0) more.push(d.create(`${lost} bytes were lost`));
      }

      function pool(): Anything[] {
        return d.enqueue(id("maxPool2d"), [x], { size: 1 });
      }
    },
    refused: "memoryLimit is 32.0 MB. Wrap work in tidy",
  },
};
