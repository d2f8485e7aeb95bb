/**
 * The worlds that the model explores: what is shipped, what the receiver has to begin with, what may go wrong, and how often.
 */
import type { Name, Reference } from '../../../src/engine/replication/messages.ts';

export interface SubtreePlan {
  /** Pages that differ from the base. */
  readonly pages: ReadonlyMap<number, readonly Reference[]>;
  /** What the base keeps unchanged: on no page, and needed all the same. */
  readonly kept: readonly Reference[];
}

export type SnapshotPlan = ReadonlyMap<number, SubtreePlan>;

export const FAULTS = ['receiver killed', 'sender killed', 'lost', 'dead', 'false data', 'pack refused', 'gone', 'second sender'] as const;
export type Fault = (typeof FAULTS)[number];

export interface Scenario {
  readonly name: string;
  readonly snapshots: readonly SnapshotPlan[];
  /** Which snapshot each sender ships; the first begins, the second comes as a fault and takes over. */
  readonly senders: readonly number[];
  /** Values that the receiver's repository counts. */
  readonly counted: readonly Name[];
  readonly namesMax: number;
  /** The sender sends data without being asked. */
  readonly ahead: boolean;
  /** The kinds of faults that there may be. */
  readonly kinds: readonly Fault[];
  /** What is explored whole in each test run, and what only when somebody asks for it. */
  readonly reaches: readonly Reach[];
  readonly farReaches: readonly Reach[];
}

export interface Reach {
  readonly faults: number;
  /** Messages and answers that may be on their way at once, beside the one that is looked at. */
  readonly late: number;
}

const reach = (faults: number, late: number): Reach => ({ faults, late });

const subtree = (pages: Readonly<Record<number, readonly [number, Name][]>>, kept: readonly [number, Name][] = []): SubtreePlan => ({
  pages: new Map(Object.entries(pages).map(([page, rows]) => [Number(page), rows.map(([at, name]) => ({ at, name }))])),
  kept: kept.map(([at, name]) => ({ at, name })),
});

const plan = (...subtrees: readonly SubtreePlan[]): SnapshotPlan => new Map(subtrees.map((one, i) => [i, one]));

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'an increment: one name counted, two to be asked for, one a round, and one that the base keeps',
    snapshots: [
      plan(
        subtree(
          {
            0: [
              [0, 'a'],
              [1, 'b'],
              [2, 'c'],
            ],
          },
          [[3, 'k']],
        ),
      ),
    ],
    senders: [0],
    counted: ['b', 'k'],
    namesMax: 1,
    ahead: false,
    kinds: ['receiver killed', 'sender killed', 'lost', 'dead', 'false data', 'pack refused', 'gone'],
    reaches: [reach(1, 0), reach(0, 2)],
    farReaches: [reach(2, 0), reach(1, 1)],
  },
  {
    name: 'two pages, and what comes late, twice and out of order',
    snapshots: [
      plan(
        subtree({
          0: [
            [0, 'a'],
            [1, 'b'],
          ],
          1: [[256, 'c']],
        }),
      ),
    ],
    senders: [0],
    counted: [],
    namesMax: 2,
    ahead: false,
    kinds: ['receiver killed', 'sender killed', 'lost', 'pack refused'],
    reaches: [reach(1, 0), reach(0, 1)],
    farReaches: [reach(2, 0), reach(0, 2), reach(1, 1)],
  },
  {
    name: 'a full one, sent ahead; a value that two subtrees share',
    snapshots: [
      plan(
        subtree({ 0: [[0, 'a']] }),
        subtree({
          0: [
            [0, 'b'],
            [1, 'a'],
          ],
        }),
      ),
    ],
    senders: [0],
    counted: [],
    namesMax: 2,
    ahead: true,
    kinds: ['receiver killed', 'sender killed', 'lost', 'false data', 'pack refused', 'gone'],
    reaches: [reach(1, 0), reach(0, 2)],
    farReaches: [reach(2, 0), reach(1, 1)],
  },
  {
    name: "an increment; a value that two subtrees share and one that is one subtree's alone",
    snapshots: [
      plan(
        subtree({ 0: [[0, 'a']] }),
        subtree({
          0: [
            [0, 'b'],
            [1, 'a'],
          ],
        }),
      ),
    ],
    senders: [0],
    counted: [],
    namesMax: 1,
    ahead: false,
    kinds: ['receiver killed', 'sender killed', 'lost', 'false data', 'pack refused', 'gone'],
    reaches: [reach(1, 0), reach(0, 1)],
    farReaches: [reach(2, 0), reach(0, 2), reach(1, 1)],
  },
  {
    name: 'a second sender of the same snapshot',
    snapshots: [
      plan(
        subtree({
          0: [
            [0, 'a'],
            [1, 'b'],
          ],
        }),
      ),
    ],
    senders: [0, 0],
    counted: ['b'],
    namesMax: 1,
    ahead: false,
    kinds: ['second sender', 'receiver killed', 'sender killed', 'lost', 'gone'],
    reaches: [reach(2, 0), reach(1, 1), reach(0, 2)],
    farReaches: [reach(3, 0), reach(2, 1), reach(1, 2)],
  },
  {
    name: 'a second sender with another snapshot that shares a value',
    snapshots: [
      plan(
        subtree({
          0: [
            [0, 'a'],
            [1, 'b'],
          ],
        }),
      ),
      plan(
        subtree({
          0: [
            [0, 'b'],
            [1, 'c'],
          ],
        }),
      ),
    ],
    senders: [0, 1],
    counted: ['c'],
    namesMax: 2,
    ahead: false,
    kinds: ['second sender', 'receiver killed', 'sender killed', 'dead'],
    reaches: [reach(2, 0), reach(0, 2)],
    farReaches: [reach(1, 1), reach(3, 0)],
  },
];
