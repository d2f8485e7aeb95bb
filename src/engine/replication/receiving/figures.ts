/** What a session has come to, for status and metrics. */
export interface SessionFigures {
  /** References that were given, and what of them was held already, by names. */
  named: number;
  held: number;
  /** Names that were listed as missing. */
  asked: number;
  accepted: number;
  dropped: number;
  /** Data that did not have its name. */
  false: number;
  /** Counted values whose bytes were lost and that were brought again. */
  healed: number;
  /** Bytes that the transport has seen, both ways. */
  wireBytes: number;
  /** Proofs of subtrees. */
  proofs: number;
  /** Bytes of packs that were put. */
  storedBytes: number;
}

export const noFigures = (): SessionFigures => ({
  ...{ named: 0, held: 0, asked: 0, accepted: 0, dropped: 0, false: 0 },
  ...{ healed: 0, wireBytes: 0, proofs: 0, storedBytes: 0 },
});
