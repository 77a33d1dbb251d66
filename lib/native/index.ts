export type { ArrayOf, DataType } from "../data-type.js";
export type { DevicePointer, MemoryStatistics, TypedArray } from "./addon.js";
export { arrayOf, dataTypes } from "./addon.js";
export { Capture } from "./capture.js";
export { Device, type DeviceOptions, expectDevice, listDevices, openDevice, openDeviceSync } from "./device.js";
export { type AddonReport, findAddon } from "./load.js";
