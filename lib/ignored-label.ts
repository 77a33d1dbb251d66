/** Default label of items that are ignored in a loss over classes. It is that of PyTorch. */
export const ignoredLabel = -100;
