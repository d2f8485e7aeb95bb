/**
 * What senders were told, and hence what must hold: the model that a run is judged by.
 *
 * A snapshot that was told committed is there with the source's root, until the collector's script hides it. What is pushed in a
 * session is what the receiver could not have: names that no snapshot holds which was there when it began and has stayed, and
 * names that were lost in harmed packs. That holds in every weather, for no trouble makes a sender start from the beginning.
 */
import { volumeName } from '../../../src/domain/ids.ts';
import type { Snapshot } from '../../../src/engine/repository/ledger.ts';
import type { Figures } from '../../../src/engine/replication/sending/figures.ts';
import { Violation } from '../volumes/violation.ts';
import { damageIn } from './reading.ts';
import { EXTENT_BYTES } from './script.ts';
import type { Pushed, WireWatch } from './wire-watch.ts';
import { idOf, PREFIX, THERE, VAULT, type Taken, type World } from './world.ts';

export interface Promises {
  /** It may be sent from here on. */
  know(taken: Taken): void;
  /** Somebody begins to send it. */
  begin(taken: Taken): Promise<void>;
  /** Somebody was told that it is committed. Throws what must not have been pushed for it. */
  commit(taken: Taken, root: string): Promise<void>;
  hide(snapshot: string): void;
  /** Packs were harmed while this snapshot was sent. */
  harm(snapshot: string): void;
  /** The receiver may have proven this subtree of a snapshot before packs were harmed. */
  closedBeforeLoss(snapshot: string, subtree: number): void;
  /** From here on everything that this snapshot has is whole again, in whatever snapshot. */
  healedBy(taken: Taken): void;
  readonly isHarmed: boolean;
  readonly healed: readonly Taken[];
  readonly committed: ReadonlyMap<string, Taken>;
  isHidden(snapshot: string): boolean;
  known(snapshot: string): Taken | undefined;
  snapshotOf(volume: string, number: number): string | undefined;
  /** Of a session that nothing disturbed but a loss: it sent what was new, what was lost, and at most 5 % more. */
  demandBytes(taken: Taken): Promise<{ readonly lost: number; readonly again: number }>;
  demandFigures(taken: Taken, figures: Figures): void;
  /** It can be read, every value of what was not proven before a loss, by one who knows nothing. */
  demandWhole(taken: Taken): Promise<void>;
}

const rootOf = ({ root }: Snapshot): string => root ?? '0'.repeat(64);
/** Of a page with 256 names, given whole. */
const PAGE_BYTES = 8466;
/** Heads, inquiries, the commit. */
const SESSION_BYTES = 64 * 1024;

export function createLedger(world: World, watch: WireWatch): Promises {
  const byId = new Map<string, Taken>();
  const committed = new Map<string, Taken>();
  const hidden = new Set<string>();
  /** Visible at the receiver when a session was begun first. */
  const thereAtBegin = new Map<string, readonly string[]>();
  /** What the receiver had as packs were harmed first, by the snapshot under way: what it had that by may be hidden since. */
  const heldAtLoss = new Map<string, ReadonlySet<string>>();
  const healed: Taken[] = [];
  const closed = new Map<string, Set<number>>();
  let isHarmed = false;

  /** Names that the receiver had when the session began, and has kept since, unless they were lost. */
  const heldIn = (taken: Taken): ReadonlySet<string> =>
    new Set((thereAtBegin.get(idOf(taken)) ?? []).filter((id) => !hidden.has(id)).flatMap((id) => [...(byId.get(id)?.names ?? [])]));

  const bytesOf = ({ names }: Pushed, of: (name: string) => boolean): { readonly once: number; readonly all: number } => {
    const chosen = [...names].filter(([name]) => of(name)).map(([, one]) => one);
    return {
      once: chosen.reduce((sum, { bytes }) => sum + bytes, 0),
      all: chosen.reduce((sum, { bytes, times }) => sum + bytes * times, 0),
    };
  };

  return {
    get isHarmed() {
      return isHarmed;
    },
    healed,
    committed,
    isHidden: (snapshot) => hidden.has(snapshot),
    known: (snapshot) => byId.get(snapshot),
    snapshotOf: (volume, number) => [...byId.values()].filter((one) => one.volume === volume)[number]?.snapshot.id,
    know: (taken) => void byId.set(idOf(taken), taken),
    async begin(taken) {
      if (thereAtBegin.has(idOf(taken))) return;
      thereAtBegin.set(idOf(taken), []);
      const { snapshots } = (await world.vault()).ledger();
      thereAtBegin.set(
        idOf(taken),
        [...snapshots.values()].filter((one) => !one.hidden).map(({ id }) => id),
      );
    },
    async commit(taken, root) {
      if (root !== rootOf(taken.snapshot)) throw new Violation(`${idOf(taken)} is told committed with the root ${root}`);
      committed.set(idOf(taken), taken);
      const held = heldIn(taken);
      const lost = await world.lostNames();
      for (const name of watch.pushedIn(idOf(taken)).names.keys()) {
        if (!taken.names.has(name)) throw new Violation(`${name} was pushed for ${idOf(taken)}, which does not have it`);
        if (held.has(name) && !lost.has(name))
          throw new Violation(`${name} was pushed for ${idOf(taken)}, and the receiver has had it all the while`);
      }
    },
    hide: (snapshot) => void hidden.add(snapshot),
    harm(snapshot) {
      isHarmed = true;
      const taken = byId.get(snapshot);
      if (taken !== undefined && !heldAtLoss.has(snapshot)) heldAtLoss.set(snapshot, heldIn(taken));
    },
    closedBeforeLoss(snapshot, subtree) {
      closed.set(snapshot, (closed.get(snapshot) ?? new Set()).add(subtree));
    },
    healedBy: (taken) => void healed.push(taken),
    async demandBytes(taken) {
      const pushed = watch.pushedIn(idOf(taken));
      const held = heldIn(taken);
      const lost = await world.lostNames();
      const wasHeld = heldAtLoss.get(idOf(taken)) ?? held;
      const isLost = (name: string): boolean => (held.has(name) || wasHeld.has(name)) && lost.has(name);
      const [fresh, again] = [bytesOf(pushed, (name) => !held.has(name) && !isLost(name)), bytesOf(pushed, isLost)];
      const extra = fresh.all + again.all - fresh.once;
      if (extra > 1.05 * again.once)
        throw new Violation(`${extra} bytes of data were sent beyond what was new, and ${again.once} were lost`);
      const leaves = Math.ceil(taken.snapshot.sizeBytes / EXTENT_BYTES / 256) + 2;
      const others = pushed.bytes - fresh.all - again.all;
      if (others > 2 * leaves * PAGE_BYTES + SESSION_BYTES) throw new Violation(`${others} bytes were sent that are no data`);
      const names = [...taken.names].filter(isLost);
      return { lost: names.length, again: names.filter((name) => pushed.names.has(name)).length };
    },
    demandFigures(taken, { sent, uniqueBytes, dropped, saidAgain }) {
      const { names } = watch.pushedIn(idOf(taken));
      const times = [...names.values()].reduce((sum, one) => sum + one.times, 0);
      const repeated = [...names].find((one) => one[1].times > 1);
      if (repeated !== undefined) throw new Violation(`${repeated[0]} was pushed twice for ${idOf(taken)}, and nothing had disturbed it`);
      const told = { sent, uniqueBytes, saidAgain, dropped };
      const is = { sent: times, uniqueBytes: times * EXTENT_BYTES, saidAgain: 0, dropped: 0 };
      if (JSON.stringify(told) !== JSON.stringify(is))
        throw new Violation(`${idOf(taken)}: the counters say ${JSON.stringify(told)}, and it was ${JSON.stringify(is)}`);
    },
    async demandWhole(taken) {
      await using cold = await world.openCold();
      const repository = await cold.repository(THERE, VAULT);
      await repository.sync();
      const there = repository.ledger().snapshots.get(idOf(taken));
      if (there === undefined) throw new Violation(`${idOf(taken)} of ${volumeName(`${PREFIX}${taken.volume}`)} is not there`);
      const damage = await damageIn(repository, there, world.threads, closed.get(idOf(taken)));
      if (damage === 'no map' || damage.length > 0)
        throw new Violation(`${idOf(taken)} was committed and cannot be read: ${damage === 'no map' ? damage : `${damage.length} values`}`);
    },
  };
}
