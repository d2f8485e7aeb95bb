/** What protected groups tell Prometheus, as of the moment in which it asks (docs/operations.md). */
import { Gauge, type Registry } from 'prom-client';
import type { ProtectionStatus } from '../../engine/volumes/disks/protection-port.ts';

export function createProtectionMetrics(registry: Registry, status: () => readonly ProtectionStatus[]): void {
  const registers = [registry];
  const gauge = (name: string, help: string, of: (one: ProtectionStatus) => number): void => {
    new Gauge({
      ...{ name, help, registers, labelNames: ['journal'] },
      collect() {
        this.reset();
        for (const one of status()) this.set({ journal: one.group.journal }, of(one));
      },
    });
  };
  gauge(
    'holdfast_protection_rpo_seconds',
    'Age of the oldest record that is in no region (pair: not in both)',
    ({ rpoMs }) => rpoMs / 1000,
  );
  gauge('holdfast_protection_held_bytes', 'Records that not all members hold', ({ heldBytes }) => heldBytes);
  gauge('holdfast_protection_write_ahead_bytes', 'Room that the write-ahead file takes', ({ writeAheadBytes }) => writeAheadBytes);
  new Gauge({
    ...{ name: 'holdfast_protection_state', help: '1: the group is in this state', registers, labelNames: ['journal', 'state'] },
    collect() {
      this.reset();
      for (const { group, state } of status()) this.set({ journal: group.journal, state }, 1);
    },
  });
  new Gauge({
    ...{
      name: 'holdfast_protection_member_lag_records',
      help: 'Records that a member does not hold yet',
      registers,
      labelNames: ['journal', 'region'],
    },
    collect() {
      this.reset();
      for (const { group, members } of status())
        for (const { region, lagRecords } of members) this.set({ journal: group.journal, region }, lagRecords);
    },
  });
}
