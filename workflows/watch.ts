/** How long each step of a job took, by the workflow's clock. */
export interface Watch {
  /** Ends a step that began when the one before ended. */
  lap(step: string): void;
  readonly laps: Readonly<Record<string, number>>;
}

export function startWatch(): Watch {
  let atMs = Date.now();
  const laps: Record<string, number> = {};
  return {
    lap(step) {
      const nowMs = Date.now();
      laps[step] = nowMs - atMs;
      atMs = nowMs;
    },
    laps,
  };
}
