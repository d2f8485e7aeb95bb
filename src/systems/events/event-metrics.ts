/** Events out and in, for Prometheus. The lag is told by the controller that relays; the others have no such lines. */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { EventsObserver } from './events-service.ts';
import type { LogState } from './relay.ts';

export function createEventMetrics(registry: Registry, states: () => readonly LogState[]): EventsObserver {
  const registers = [registry];
  const gauge = (name: string, help: string, value: (state: LogState) => number): void =>
    void new Gauge({
      ...{ name, help, labelNames: ['log'], registers },
      collect() {
        this.reset();
        for (const state of states()) this.set({ log: state.name }, value(state));
      },
    });
  gauge('holdfast_events_lag_records', 'Records of the log whose events the brokers have not confirmed', ({ lagRecords }) => lagRecords);
  gauge('holdfast_events_lag_seconds', 'Since the oldest of them was written', ({ oldestMs }) =>
    oldestMs === null ? 0 : Math.max(0, Date.now() - oldestMs) / 1000,
  );
  const sent = new Counter({ name: 'holdfast_events_sent_total', help: 'Events that the brokers have confirmed', registers });
  const failures = new Counter({
    ...{ name: 'holdfast_events_failures_total', help: 'Tries that failed, by log or part', labelNames: ['at'], registers },
  });
  const started = new Counter({
    ...{ name: 'holdfast_triggers_total', help: 'Events that asked for a job', labelNames: ['trigger', 'outcome'], registers },
  });
  const passed = new Counter({
    ...{ name: 'holdfast_triggers_passed_total', help: 'Events from outside that could not be used', labelNames: ['topic'], registers },
  });
  return {
    sent: (events) => sent.inc(events),
    failed: (at) => failures.inc({ at }),
    started: (trigger, outcome) => started.inc({ trigger, outcome }),
    passed: ({ topic }) => passed.inc({ topic }),
  };
}
