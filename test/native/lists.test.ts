// A list tells which of its tensors were written in place since it was set or since the last note().
import { expect, it } from "vitest";
import { fill, type Tensor, tensor } from "#lib/tensor/index.js";
import { onEveryDevice } from "../support/devices.js";

await onEveryDevice("a list of tensors", (device) => {
  const make = () => {
    const tensors = [1, 2, 3].map((value) => tensor(device, [value]));
    const list = device.native.list();
    list.set(tensors.map(({ handle }) => handle));
    return { tensors: tensors as [Tensor, Tensor, Tensor], list };
  };

  it("detects writes by an operation, from the host and by a replay", () => {
    const { tensors, list } = make();
    const capture = device.capture(() => fill(tensors[0], 5));
    // Recording a capture counts as writing.
    expect(list.changed()).toEqual([0]);
    list.note();
    fill(tensors[2], 7);
    tensors[1].write(Float32Array.of(8));
    expect(list.changed()).toEqual([1, 2]);
    // changed() does not reset the list.
    expect(list.changed()).toEqual([1, 2]);
    list.note();
    expect(list.changed()).toBeNull();
    capture.replay(3);
    expect(list.changed()).toEqual([0]);
    list.set(tensors.map(({ handle }) => handle));
    expect(list.changed()).toBeNull();
    capture.dispose();
    for (const one of tensors) one.dispose();
  });

  it("ignores tensors that were disposed of", () => {
    const { tensors, list } = make();
    fill(tensors[0], 5);
    fill(tensors[1], 5);
    tensors[0].dispose();
    expect(list.changed()).toEqual([1]);
    tensors[1].dispose();
    tensors[2].dispose();
    expect(list.changed()).toBeNull();
  });
});
