/**
 * The points at which a sender or a receiver is killed: the steps of a session, named as docs/replication.md names them.
 *
 * Most stand around a message, on either side. The receiver has more between the message and its answer, where its store is
 * called: a pack, the changes of a finished subtree, and log records, which are told apart by what was being heard. A process
 * dies when it meets its point for the n-th time, by its own SIGKILL, so nothing of it runs on.
 */
export const MESSAGES = ['OPEN', 'REFERENCES', 'DATA', 'PUSH_INQUIRY', 'COMMIT'] as const;

const RECORDS: Readonly<Partial<Record<string, string>>> = { OPEN: 'a claim', PUSH_INQUIRY: 'a heal', COMMIT: 'the commit record' };

export const SENDER_POINTS: readonly string[] = MESSAGES.flatMap((kind) => [
  `sender: before ${kind} is said`,
  `sender: while ${kind} is under way`,
  `sender: after ${kind} was answered`,
]);

export const RECEIVER_POINTS: readonly string[] = [
  ...MESSAGES.flatMap((kind) => [`receiver: before ${kind} is heard`, `receiver: after ${kind} is answered`]),
  ...['a pack', 'the changes of a subtree', ...Object.values(RECORDS)].flatMap((what) => [
    `receiver: before ${what} is put`,
    `receiver: after ${what} is put`,
  ]),
  'receiver: after packs are listed',
  'receiver: after a pack is read',
  'receiver: after an answer is out',
];

/** What a record of the log is that is put while this is heard; null: no point. */
export const recordOf = (heard: string | null): string | null => RECORDS[heard ?? ''] ?? null;

export interface Kill {
  readonly point: string;
  /** The n-th time that it is met. */
  readonly nth: number;
}

export interface Trap {
  arm(kill: Kill | null): void;
  /** Does not return if this is where the process dies. */
  meet(point: string): void;
}

/** `spring` tells the starter, and then ends the process. */
export function createTrap(spring: (point: string) => void): Trap {
  let armed: Kill | null = null;
  let met = 0;
  return {
    arm(kill) {
      armed = kill;
      met = 0;
    },
    meet(point) {
      if (armed?.point === point && ++met === armed.nth) spring(point);
    },
  };
}
