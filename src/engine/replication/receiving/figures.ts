/** What a session has come to since this process found it, for status and metrics. */
export interface SessionFigures {
  /** References that were given, and how many of them were held already. */
  readonly named: number;
  readonly held: number;
  /** Names that were listed as missing. */
  readonly asked: number;
  readonly accepted: number;
  /** Duplicates, and what was never named. */
  readonly dropped: number;
  /** Data that did not have its name. */
  readonly false: number;
  /** Counted values whose bytes were lost and that were brought again. */
  readonly healed: number;
  /** Bytes that the transport has seen, both ways. */
  readonly wireBytes: number;
  /** Proofs of subtrees. */
  readonly proofs: number;
  /** Bytes of packs of extents that were put. */
  readonly storedBytes: number;
}

/** What is counted as it happens; what was dropped, or false, the reducer counts. */
export type Counts = { -readonly [Figure in Exclude<keyof SessionFigures, 'dropped' | 'false'>]: SessionFigures[Figure] };

export const noCounts = (): Counts => ({
  ...{ named: 0, held: 0, asked: 0, accepted: 0 },
  ...{ healed: 0, wireBytes: 0, proofs: 0, storedBytes: 0 },
});
