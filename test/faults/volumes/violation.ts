/** Something that the product promises did not hold. The first one ends a run. */
export class Violation extends Error {}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
