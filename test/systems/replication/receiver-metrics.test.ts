/** What a receiver tells Prometheus of sessions that come and go. */
import { expect, test } from '@jest/globals';
import { lineage, repositoryName, snapshotId, storeName } from '../../../src/domain/ids.ts';
import type { SessionStatus } from '../../../src/engine/replication/receiving/receiving.ts';
import { createMetricsRegistry } from '../../../src/ground/metrics/registry.ts';
import { createReceiverMetrics } from '../../../src/systems/replication/receiver-metrics.ts';

const session = (peer: string, accepted: number): SessionStatus => ({
  ...{ peer, store: storeName('s'), repository: repositoryName('r'), lineage: lineage('v@1'), snapshot: snapshotId('0'.repeat(26)) },
  ...{ epoch: 1, status: 'open', sizeBytes: 1, heardMs: 0 },
  figures: { named: 9, held: 1, asked: 2, accepted, dropped: 1, false: 1, healed: 3, wireBytes: 5, proofs: 4, storedBytes: 6 },
});

test('what a session came to stays counted when it ends, and is counted once', async () => {
  const registry = createMetricsRegistry({ role: 'receiver' });
  let open: readonly SessionStatus[] = [session('a', 10), session('a', 5), session('b', 1)];
  const metrics = createReceiverMetrics(registry, () => open);
  const value = async (name: string, labels: Readonly<Record<string, string>>): Promise<number | undefined> => {
    const metric = (await registry.getMetricsAsJSON()).find((one) => one.name === name);
    return metric?.values.find(({ labels: has }) => Object.entries(labels).every(([label, is]) => has[label] === is))?.value;
  };
  const accepted = { token: 'a', outcome: 'accepted' };
  expect(await value('holdfast_receiver_values_total', accepted)).toBe(15);
  expect(await value('holdfast_receiver_sessions', { token: 'a' })).toBe(2);
  metrics.ended(session('a', 12));
  open = open.slice(1);
  expect(await value('holdfast_receiver_values_total', accepted)).toBe(17);
  expect(await value('holdfast_receiver_healed_total', { token: 'a' })).toBe(6);
  expect(await value('holdfast_receiver_sessions', { token: 'a' })).toBe(1);
});

test('exchanges, bytes and refusals are counted by token; strangers are one', async () => {
  const registry = createMetricsRegistry({ role: 'receiver' });
  const metrics = createReceiverMetrics(registry, () => []);
  metrics.note({ kind: 'exchange', token: 'a', bytesIn: 100, bytesOut: 10, refused: 'RECEIVER_FULL' });
  metrics.note({ kind: 'answered', token: 'a', bytesIn: 0, bytesOut: 7 });
  metrics.note({ kind: 'refused', token: null, status: 401, bytesIn: 3 });
  metrics.note({ kind: 'full' });
  const text = await registry.metrics();
  expect(text).toContain('holdfast_receiver_exchanges_total{token="a",role="receiver"} 1');
  expect(text).toContain('holdfast_receiver_bytes_total{token="a",direction="in",role="receiver"} 100');
  expect(text).toContain('holdfast_receiver_bytes_total{token="a",direction="out",role="receiver"} 17');
  expect(text).toContain('holdfast_receiver_refusals_total{token="a",code="RECEIVER_FULL",role="receiver"} 1');
  expect(text).toContain('holdfast_receiver_refusals_total{token="none",code="http_401",role="receiver"} 1');
});
