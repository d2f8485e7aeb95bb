export interface HydrationFigures {
  /** Extents whose bytes are the volume's own by now. */
  readonly localExtents: number;
  readonly extents: number;
  /** Extents that were fetched from the store since the volume was opened. */
  readonly fetchedExtents: number;
}
