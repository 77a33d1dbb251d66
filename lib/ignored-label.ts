/** The label of an item that does not count in a loss over classes: PyTorch's number. */
export const ignoredLabel = -100;
