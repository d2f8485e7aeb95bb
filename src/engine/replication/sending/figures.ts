/** What a session comes to: counted by its driver, for each call of the session by itself. */

export interface Figures {
  /** Plain bytes of the extents that were named. */
  readonly logicalBytes: number;
  /** Plain bytes of the values that went over. */
  readonly uniqueBytes: number;
  /** Frames that were said, those that were said again included. */
  readonly wireBytes: number;
  readonly answerBytes: number;
  /** Extents named on pages; a page that is given again counts again. */
  readonly referenced: number;
  /** Values that went over and were answered. */
  readonly sent: number;
  /** Of what was answered, what the receiver had no use for. */
  readonly dropped: number;
  /** Names that were asked for after their value had been sent, or after their subtree had been closed. */
  readonly askedAgain: number;
  /** Inquiries that were answered. */
  readonly rounds: number;
  /** Exchanges that had no answer and were said again. */
  readonly saidAgain: number;
}

/** The same, while it is counted. */
export type Tally = { -readonly [Name in keyof Figures]: number };

export const newTally = (): Tally => ({
  logicalBytes: 0,
  uniqueBytes: 0,
  wireBytes: 0,
  answerBytes: 0,
  referenced: 0,
  sent: 0,
  dropped: 0,
  askedAgain: 0,
  rounds: 0,
  saidAgain: 0,
});
