/**
 * What becomes of a group's state, for whoever follows the catalog (docs/protection.md, section 9).
 *
 * Two say it: the disk server of the group's host each change of its mode, as it comes; and whoever looks after the journal what the host cannot say
 * (that it does not answer), an RPO above a second, and what was never noted. The second notes only what is still so: that the catalog says nothing else than
 * before it asked the host.
 *
 * Invariant: no write waits for a note. A catalog that is away is tried again; of what waits the newest MODES_WAITING_MAX are kept.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isHoldfastError, messageOf } from '../../../domain/errors.ts';
import { PROTECTION_RPO_MS } from '../../../domain/limits.ts';
import type { Catalog, CatalogEntry } from '../../../engine/catalog/catalog.ts';
import type { GroupStateNoted } from '../../../engine/catalog/protections.ts';
import type { ProtectionState } from '../../../engine/volumes/disks/protection-port.ts';

export interface GroupSeen {
  readonly state: ProtectionState;
  readonly rpoMs: number;
  readonly why: string | null;
  /** What the catalog said before the host was asked. */
  readonly before: GroupStateNoted | null;
}

const WHY_MAX = 500;

/** Null, in the place of what was seen: the host does not answer, or does not serve the group. */
export async function noteGroupState(catalog: Catalog, journal: string, seen: GroupSeen | null): Promise<void> {
  const now = { state: seen?.state ?? 'UNKNOWN', isLate: (seen?.rpoMs ?? 0) > PROTECTION_RPO_MS } as const;
  await catalog.append(({ protections, groupStates }) => {
    const before = groupStates.get(journal) ?? null;
    const isNews = seen !== null && JSON.stringify(before) !== JSON.stringify(seen.before);
    if (isNews || !protections.has(journal) || (before?.state === now.state && before.isLate === now.isLate)) return null;
    return { kind: 'PROTECTION_STATE', journal, ...now, rpoMs: seen?.rpoMs ?? null, why: seen?.why?.slice(0, WHY_MAX) ?? null };
  });
}

export interface ModeChange {
  readonly journal: string;
  readonly state: ProtectionState;
  readonly why: string | null;
}

export interface ModeNotes {
  /** Returns at once. */
  note(change: ModeChange): void;
  /** Notes nothing more. */
  stop(): void;
}

export interface ModeNotesOptions {
  /** Of this host: only who has the disks says how they are. */
  readonly host: string;
  readonly catalogOf: () => Promise<Catalog>;
  /** A change that cannot be noted. */
  readonly onDropped: (change: ModeChange, why: string) => void;
}

const MODES_WAITING_MAX = 100;
const RETRY_MS = 1000;
const RETRY_MS_MAX = 30_000;

/** How far behind a group is changes all the time, and is a metric. */
const modeOf = (state: string): string => (state === 'CATCHING_UP' ? 'PROTECTED' : state);

export function createModeNotes({ host, catalogOf, onDropped }: ModeNotesOptions): ModeNotes {
  const waiting: ModeChange[] = [];
  /** Modes that were taken, by journal: what goes to and fro within one asks no catalog. */
  const taken = new Map<string, string>();
  const stopping = new AbortController();
  let isRunning = false;

  const noteOne = async ({ journal, state, why }: ModeChange): Promise<void> => {
    await (
      await catalogOf()
    ).append(({ protections, groupStates }): CatalogEntry | null => {
      const known = groupStates.get(journal)?.state;
      if (protections.get(journal)?.host !== host || (known !== undefined && modeOf(known) === modeOf(state))) return null;
      return { kind: 'PROTECTION_STATE', journal, state, isLate: false, rpoMs: null, why: why?.slice(0, WHY_MAX) ?? null };
    });
  };
  const run = async (): Promise<void> => {
    for (let waitMs = RETRY_MS; !stopping.signal.aborted;) {
      const [next] = waiting;
      if (next === undefined) {
        // In the same turn as the look at what waits: whoever comes next starts a run of its own.
        isRunning = false;
        return;
      }
      try {
        await noteOne(next);
        waitMs = RETRY_MS;
      } catch (error) {
        if (isHoldfastError(error) && error.retryable) {
          await sleep(waitMs, undefined, { signal: stopping.signal, ref: false }).catch(() => undefined);
          waitMs = Math.min(waitMs * 2, RETRY_MS_MAX);
          continue;
        }
        onDropped(next, messageOf(error));
      }
      if (waiting[0] === next) waiting.shift();
    }
  };

  return {
    note(change) {
      const mode = modeOf(change.state);
      if (taken.get(change.journal) === mode) return;
      taken.set(change.journal, mode);
      waiting.push(change);
      if (waiting.length > MODES_WAITING_MAX) waiting.shift();
      if (isRunning) return;
      isRunning = true;
      void run();
    },
    stop: () => stopping.abort(),
  };
}
