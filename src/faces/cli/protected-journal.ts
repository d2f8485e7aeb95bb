/** A journal of the catalog as a command uses it: opened with the bases of its regions, and closed with the command. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ProtectionRecord } from '../../engine/catalog/protections.ts';
import type { Bases } from '../../engine/journal/keeping/bases.ts';
import type { Reading } from '../../engine/journal/reading/reading.ts';
import type { Disks } from '../../engine/volumes/disks/disk-client.ts';
import type { GroupWanted } from '../../engine/volumes/disks/group-record.ts';
import type { ProtectionStatus } from '../../engine/volumes/disks/protection-port.ts';
import type { Threads } from '../../ground/threads/threads.ts';
import type { BaseOutcome } from '../../systems/protection/take-base.ts';
import type { Session } from './session.ts';

export interface ProtectedJournal extends AsyncDisposable {
  readonly protection: ProtectionRecord;
  readonly reading: Reading;
  /** By region; those that have none yet, or do not answer, are left out. */
  readonly bases: ReadonlyMap<string, Bases>;
  readonly threads: Threads;
  takeBase(disks: Disks): Promise<readonly BaseOutcome[]>;
}

export async function openProtected(session: Session, journal: string, { create = false } = {}): Promise<ProtectedJournal> {
  const [{ openProtection }, { findProtection }, { Threads }] = await Promise.all([
    import('../../systems/protection/home-journal.ts'),
    import('../../engine/catalog/protections.ts'),
    import('../../ground/threads/threads.ts'),
  ]);
  const home = await session.home();
  const protection = findProtection(await home.catalog.sync(), journal);
  const threads = new Threads({ count: 2 });
  const { reading, bases } = await openProtection({ home, threads }, protection, {
    create,
    onSilent: (error) => session.say(`a region does not answer: ${error.message}`),
  });
  return {
    ...{ protection, reading, bases, threads },
    async takeBase(disks) {
      const { takeBase } = await import('../../systems/protection/take-base.ts');
      const group = { journal, disks: protection.disks.map(({ disk }) => disk) };
      const stop = new AbortController();
      session.terminal.onInterrupt(() => stop.abort());
      return takeBase({ group, disks, reading, bases: [...bases.values()], signal: stop.signal });
    },
    [Symbol.asyncDispose]: () => threads[Symbol.asyncDispose](),
  };
}

const LOOK_MS = 200;
const BASE_AGAIN_MS = 5000;

export interface Waiting {
  readonly group: GroupWanted;
  /** No region has got a base. */
  readonly onNoBase: () => Promise<void>;
}

/** Takes the first base where one is needed, again while no region could be given one. */
export async function waitUntilProtected(
  session: Session,
  opened: ProtectedJournal,
  disks: Disks,
  { group: { journal }, onNoBase }: Waiting,
): Promise<ProtectionStatus> {
  const said = new Set<string>();
  const say = (line: string): void => {
    if (!said.has(line)) session.say(line);
    said.add(line);
  };
  for (let nextMs = 0; ; await sleep(LOOK_MS)) {
    const status = (await disks.protection()).find(({ group }) => group.journal === journal);
    if (status !== undefined && status.state !== 'RESYNC' && status.state !== 'OPENING' && status.state !== 'BITMAP') return status;
    if (status?.state !== 'RESYNC' || performance.now() < nextMs) continue;
    say('the first base is taken: points come with it');
    const outcomes = await opened.takeBase(disks);
    for (const one of outcomes) if (one.kind !== 'recorded') say(`${one.region} has no base: ${one.why}`);
    if (outcomes.every(({ kind }) => kind !== 'recorded')) await onNoBase();
    nextMs = performance.now() + BASE_AGAIN_MS;
  }
}
