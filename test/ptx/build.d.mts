export const testProgram: string;
