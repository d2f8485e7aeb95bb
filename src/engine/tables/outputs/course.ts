/** What a writer of rows tells while it writes, and what ends it. */
export interface Course {
  readonly signal?: AbortSignal;
  /** So many rows were written since it was last told. */
  readonly onRows?: (rows: number) => void;
}
