export type { ArrayOf, DataType } from "../data-type.js";
export type { DevicePointer, Float32Products, MemoryStatistics, TypedArray } from "./addon.js";
export { arrayOf, dataTypes } from "./addon.js";
export { Capture } from "./capture.js";
export { Device, type DeviceOptions, listDevices, openDevice } from "./device.js";

// For other folders of the library. The published declarations do not contain these names.

/** @internal */
export { expectDevice, openDeviceSync } from "./device.js";
/** @internal */
export { type AddonReport, findAddon } from "./load.js";
