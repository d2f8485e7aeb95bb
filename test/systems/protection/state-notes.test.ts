/** What becomes of a group's state in the catalog: each change of its mode, in order, through a catalog that is away; and nothing by who has not the disks. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../../../src/domain/errors.ts';
import { storeName } from '../../../src/domain/ids.ts';
import type { Catalog, CatalogEntry } from '../../../src/engine/catalog/catalog.ts';
import { createModeNotes, noteGroupState } from '../../../src/systems/protection/domain/state-notes.ts';
import { createInstallation, HOST, type Installation } from '../installation.ts';

let installation: Installation;
let catalog: Catalog;

beforeEach(async () => {
  installation = await createInstallation();
  ({ catalog } = installation.home);
  for (const store of ['log', 'east']) await installation.addStore(store);
  const protection = {
    ...{ journal: 'j', host: HOST, mode: 'local' as const, log: storeName('log'), extentBytes: 64 * 1024 },
    ...{ disks: [{ disk: 'db', sizeBytes: 1 << 20 }], members: [{ region: storeName('east'), domain: 'east' }] },
  };
  await catalog.append(() => ({ kind: 'PROTECTION_SET', protection }));
});
afterEach(async () => installation[Symbol.asyncDispose]());

/** A catalog that is written down as it is appended to, and is away while `isAway`. */
function watched(isAway: () => boolean): { readonly told: string[]; readonly catalog: Catalog } {
  const told: string[] = [];
  const append: Catalog['append'] = async (plan) => {
    if (isAway()) throw new HoldfastError('STORE_UNREACHABLE', 'away');
    return catalog.append((state) => {
      const planned = plan(state);
      const entries = [planned ?? []].flat() as readonly CatalogEntry[];
      for (const entry of entries) if (entry.kind === 'PROTECTION_STATE') told.push(entry.state);
      return planned;
    });
  };
  return { told, catalog: { ...catalog, append } };
}

async function until(holds: () => boolean, what: () => string): Promise<void> {
  for (const deadline = Date.now() + 60_000; !holds(); await sleep(20)) if (Date.now() > deadline) throw new Error(what());
}

test('each change of mode is noted in order, also those of a time in which the catalog was away; how far it is behind is none', async () => {
  let isAway = true;
  const { told, catalog: seen } = watched(() => isAway);
  const notes = createModeNotes({ host: HOST, catalogOf: () => Promise.resolve(seen), onDropped: (_, why) => told.push(why) });
  for (const state of ['PROTECTED', 'CATCHING_UP', 'PROTECTED', 'BITMAP', 'RESYNC'] as const)
    notes.note({ journal: 'j', state, why: null });
  await sleep(100);
  expect(told).toEqual([]);
  isAway = false;
  await until(
    () => told.length === 3,
    () => told.join(),
  );
  notes.note({ journal: 'j', state: 'FENCED', why: 'the journal was taken over' });
  const known = () => catalog.known().groupStates.get('j');
  await until(
    () => known()?.state === 'FENCED',
    () => told.join(),
  );
  expect(told).toEqual(['PROTECTED', 'BITMAP', 'RESYNC', 'FENCED']);
  expect(known()).toMatchObject({ why: 'the journal was taken over' });
  notes.stop();
});

test('a host that has not the disks any more says nothing of them', async () => {
  const moved = { journal: 'j', from: HOST, host: 'other', how: 'failover' as const, closedEpoch: 1, end: 1, epoch: 2, point: 1 };
  await catalog.append(() => ({ kind: 'PROTECTION_MOVED', ...moved, lostMsMax: 0 }));
  const { told, catalog: seen } = watched(() => false);
  let asked = 0;
  const catalogOf = (): Promise<Catalog> => Promise.resolve((asked++, seen));
  const here = createModeNotes({ host: HOST, catalogOf, onDropped: (_, why) => told.push(why) });
  const there = createModeNotes({ host: 'other', catalogOf, onDropped: (_, why) => told.push(why) });
  here.note({ journal: 'j', state: 'FENCED', why: null });
  await until(
    () => asked === 1,
    () => String(asked),
  );
  there.note({ journal: 'j', state: 'PROTECTED', why: null });
  await until(
    () => told.length > 0,
    () => told.join(),
  );
  expect(told).toEqual(['PROTECTED']);
});

test('who asks now and then notes what is new, and not what was overtaken while the host was asked', async () => {
  const state = () => catalog.known().groupStates.get('j');
  await noteGroupState(catalog, 'j', { state: 'PROTECTED', rpoMs: 0, why: null, before: null });
  const before = state() ?? null;
  expect(before).toMatchObject({ state: 'PROTECTED', isLate: false });
  await noteGroupState(catalog, 'j', { state: 'PROTECTED', rpoMs: 1500, why: null, before });
  expect(state()).toMatchObject({ state: 'PROTECTED', isLate: true });
  // It was asked before that.
  await noteGroupState(catalog, 'j', { state: 'BITMAP', rpoMs: 0, why: null, before });
  expect(state()).toMatchObject({ state: 'PROTECTED', isLate: true });
  await noteGroupState(catalog, 'j', null);
  expect(state()).toMatchObject({ state: 'UNKNOWN', rpoMs: null });
});
