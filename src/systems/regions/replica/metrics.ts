/** What a replica tells Prometheus. What waits is looked at when it is asked for. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { EarEvent } from '../../../engine/replication/transport/ear.ts';
import type { ReplicaStatus } from './replica.ts';
import type { ServiceEvent } from './service.ts';

export interface ReplicaMetrics {
  note(event: EarEvent | ServiceEvent): void;
}

const SECONDS_BUCKETS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1, 3, 10, 30];

/** `status`: null while it does not serve yet. */
export function createReplicaMetrics(registry: Registry, status: () => ReplicaStatus | null): ReplicaMetrics {
  const registers = [registry];
  const seconds = new Histogram({
    ...{
      name: 'holdfast_replica_call_seconds',
      help: 'Calls that were answered, from their head to their answer',
      buckets: SECONDS_BUCKETS,
    },
    ...{ labelNames: ['operation'], registers },
  });
  const bytes = new Counter({
    ...{ name: 'holdfast_replica_bytes_total', help: 'Bytes of bodies, from and to clients', labelNames: ['direction'], registers },
  });
  const refused = new Counter({
    ...{ name: 'holdfast_replica_refusals_total', help: 'Requests that were refused, by status', labelNames: ['status'], registers },
  });
  const pressed = new Counter({
    ...{ name: 'holdfast_replica_back_pressure_total', help: 'Requests for which no room came free in time', registers },
  });
  const telling = (name: string, help: string, value: (now: ReplicaStatus) => number): void => {
    new Gauge({
      ...{ name: `holdfast_replica_${name}`, help, registers },
      collect() {
        const now = status();
        if (now !== null) this.set(value(now));
      },
    });
  };
  telling('waiting_entries', 'Puts and deletes that the store behind does not have yet', ({ waiting }) => waiting.entries);
  telling('waiting_bytes', 'Bytes that the store behind does not have yet', ({ waiting }) => waiting.bytes);
  telling('oldest_seconds', 'Age of the oldest of them', ({ waiting }) => waiting.oldestMs / 1000);
  telling('pressed_puts', 'Puts that wait for room', ({ pressure }) => pressure.puts);
  telling('moved_entries', 'Entries that were moved since the start', ({ moved }) => moved.entries);
  telling('moved_bytes', 'Bytes that were moved since the start', ({ moved }) => moved.bytes);
  telling('move_errors', 'Tries to move an entry that failed since the start', ({ errors }) => errors);
  telling(
    'trusted_seconds',
    'How long the mark is believed in without being seen; 0: nothing is answered',
    (now) => now.trustedForMs / 1000,
  );
  telling('epoch', 'Epoch of its mark', ({ epoch }) => epoch);
  return {
    note(event) {
      switch (event.kind) {
        case 'answered':
          seconds.observe({ operation: event.operation }, event.seconds);
          if (event.bytesIn > 0) bytes.inc({ direction: 'in' }, event.bytesIn);
          if (event.bytesOut > 0) bytes.inc({ direction: 'out' }, event.bytesOut);
          return;
        case 'back-pressure':
          return pressed.inc();
        case 'refused':
          return refused.inc({ status: String(event.status) });
        default:
      }
    },
  };
}
