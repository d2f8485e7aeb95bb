import { expect, test } from '@jest/globals';
import { storeName, volumeName } from '../../../src/domain/ids.ts';
import { NO_FIGURES } from '../../../src/domain/replication.ts';
import { policyKey, rateAt, type BandwidthWindow, type ReplicationPolicy } from '../../../src/engine/catalog/replication-policies.ts';
import { createInstallation } from '../../systems/installation.ts';

const at = (time: string): number => Date.parse(`2026-11-22T${time}:00Z`);
const window = (from: string, to: string): BandwidthWindow => {
  const minute = (time: string): number => (at(time) / 60_000) % (24 * 60);
  return { fromMinute: minute(from), toMinute: minute(to), bytesPerSecondMax: 1000 };
};

test('a window holds from its first minute until its last, past midnight too, and loosens no bound of the receiver', () => {
  const day = window('08:00', '18:00');
  expect(['07:59', '08:00', '17:59', '18:00'].map((time) => rateAt(null, day, at(time)))).toEqual([null, 1000, 1000, null]);
  const night = window('22:00', '06:00');
  expect(['21:59', '22:00', '00:00', '05:59', '06:00'].map((time) => rateAt(5000, night, at(time)))).toEqual([
    5000, 1000, 1000, 1000, 5000,
  ]);
  expect(rateAt(10, day, at('12:00'))).toBe(10);
  expect(rateAt(null, window('10:00', '10:00'), at('10:00'))).toBe(null);
  expect(rateAt(7, null, at('10:00'))).toBe(7);
});

test('policies name what is there, hold their receiver, and what was confirmed never goes back', async () => {
  await using installation = await createInstallation();
  const { catalog } = installation.home;
  await installation.addStore('here');
  const volume = await installation.addVolume('db', ['here'], { sizeBytes: 65_536, extentBytes: 65_536, writes: [] });
  const policy: ReplicationPolicy = { volume, receiver: 'far', from: null, afterCapture: true, everyMs: null, window: null };
  const set = (changes: Partial<ReplicationPolicy> = {}) =>
    catalog.append(() => ({ kind: 'REPLICATE_SET', policy: { ...policy, ...changes } }));
  await expect(set()).rejects.toMatchObject({ code: 'RECEIVER_NOT_FOUND' });
  await catalog.append(() => ({
    kind: 'RECEIVER_ADD',
    receiver: {
      ...{ name: 'far', url: 'https://backup.example', token: 'env:T', ca: null, client: null },
      ...{ seal: { by: 'receiver' }, bytesPerSecondMax: null },
    },
  }));
  await expect(set({ volume: volumeName('other') })).rejects.toMatchObject({ code: 'VOLUME_NOT_FOUND' });
  await expect(set({ from: storeName('other') })).rejects.toMatchObject({ code: 'STORE_NOT_FOUND' });
  await set();
  await expect(catalog.append(() => ({ kind: 'RECEIVER_REMOVE', name: 'far' }))).rejects.toMatchObject({ code: 'RECEIVER_EXISTS' });

  const snapshots = ['0'.repeat(26), '1'.repeat(26)] as const;
  const confirm = (i: 0 | 1) =>
    catalog.append(() => ({
      kind: 'REPLICATED',
      volume,
      receiver: 'far',
      snapshot: snapshots[i] as never,
      takenMs: 1000 + i,
      figures: NO_FIGURES,
    }));
  await confirm(1);
  await confirm(0);
  expect((await catalog.sync()).replicated.get(policyKey(policy))?.snapshot).toBe(snapshots[1]);

  await catalog.append(() => ({ kind: 'REPLICATE_REMOVE', volume, receiver: 'far' }));
  await expect(catalog.append(() => ({ kind: 'REPLICATE_REMOVE', volume, receiver: 'far' }))).rejects.toMatchObject({
    code: 'ARGUMENT_INVALID',
  });
  await catalog.append(() => ({ kind: 'RECEIVER_REMOVE', name: 'far' }));
  expect((await catalog.sync()).replicated.size).toBe(0);
});
