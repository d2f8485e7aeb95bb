/** The points at which a replica is killed: the steps between which docs/replica.md, section 4, says what a crash leaves. */
export const POINTS = [
  // Only the first start lists them.
  'after names are listed',
  'before a segment is made',
  'after a segment is made',
  'before an entry is written',
  'while an entry is written',
  'after an entry is durable',
  'before a put to the store',
  'after a put to the store',
  'after a put was read back',
  'before a delete in the store',
  'after a delete in the store',
  'before the mark is put',
  'after the mark is put',
] as const;
export type Point = (typeof POINTS)[number];

export interface Kill {
  readonly point: Point;
  /** The n-th time that it is met. */
  readonly nth: number;
}

export interface DyingOrders {
  readonly folder: string;
  readonly store: string;
  readonly segmentBytes: number;
  /** What each call of the store behind takes at least. */
  readonly storeMs: number;
  readonly kill: Kill | null;
  readonly trustMs?: number;
}
