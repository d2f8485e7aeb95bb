/**
 * What a receiver tells Prometheus. Sessions count for themselves; what those that have ended came to is remembered by token, so
 * that a counter never falls while the process lives.
 */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { SessionFigures } from '../../engine/replication/receiving/figures.ts';
import type { SessionStatus } from '../../engine/replication/receiving/receiving.ts';
import type { ReceiverEvent } from '../../engine/replication/transport/server.ts';

export interface ReceiverMetrics {
  note(event: ReceiverEvent): void;
  ended(session: SessionStatus): void;
}

/** `token` of who is not known. */
const NOBODY = 'none';

export function createReceiverMetrics(registry: Registry, open: () => readonly SessionStatus[]): ReceiverMetrics {
  const past = new Map<string, SessionFigures>();
  const registers = [registry];
  const labelNames = ['token' as const];
  const exchanges = new Counter({
    ...{ name: 'holdfast_receiver_exchanges_total', help: 'Exchanges that were heard and answered', labelNames, registers },
  });
  const bytes = new Counter({
    name: 'holdfast_receiver_bytes_total',
    help: 'Bytes of bodies of exchanges, in and out',
    ...{ labelNames: ['token', 'direction'], registers },
  });
  const refusals = new Counter({
    name: 'holdfast_receiver_refusals_total',
    help: 'Exchanges that were refused, in part or whole, by code or by status of HTTP',
    ...{ labelNames: ['token', 'code'], registers },
  });
  new Gauge({
    ...{ name: 'holdfast_receiver_sessions', help: 'Sessions that are open', labelNames, registers },
    collect() {
      this.reset();
      for (const { peer } of open()) this.inc({ token: peer });
    },
  });

  /** Of a token: what its ended sessions came to, and what its open ones have come to. */
  const sums = (): Map<string, SessionFigures> => {
    const all = new Map(past);
    for (const { peer, figures } of open()) all.set(peer, sum(all.get(peer), figures));
    return all;
  };
  const counting = (name: string, help: string, figure: keyof SessionFigures): void =>
    void new Counter({
      ...{ name, help, labelNames, registers },
      collect() {
        this.reset();
        for (const [token, figures] of sums()) this.inc({ token }, figures[figure]);
      },
    });
  new Counter({
    name: 'holdfast_receiver_values_total',
    help: 'Values that came: accepted, dropped (nobody waited for them), or false (not what they were named)',
    ...{ labelNames: ['token', 'outcome'], registers },
    collect() {
      this.reset();
      for (const [token, figures] of sums())
        for (const outcome of ['accepted', 'dropped', 'false'] as const) this.inc({ token, outcome }, figures[outcome]);
    },
  });
  counting('holdfast_receiver_asked_total', 'Names that were listed as missing', 'asked');
  counting('holdfast_receiver_healed_total', 'Values that had been lost here and were brought again', 'healed');
  counting('holdfast_receiver_proofs_total', 'Proofs of subtrees', 'proofs');

  return {
    note(event) {
      if (event.kind === 'full' || event.kind === 'failure') return;
      const token = event.token ?? NOBODY;
      bytes.inc({ token, direction: 'in' }, event.bytesIn);
      if (event.kind === 'refused') refusals.inc({ token, code: `http_${event.status}` });
      if (event.kind !== 'exchange' && event.kind !== 'answered') return;
      bytes.inc({ token, direction: 'out' }, event.bytesOut);
      if (event.kind === 'answered') return;
      exchanges.inc({ token });
      if (event.refused !== null) refusals.inc({ token, code: event.refused });
    },
    ended: ({ peer, figures }) => void past.set(peer, sum(past.get(peer), figures)),
  };
}

const sum = (a: SessionFigures | undefined, b: SessionFigures): SessionFigures =>
  a === undefined
    ? b
    : {
        named: a.named + b.named,
        held: a.held + b.held,
        asked: a.asked + b.asked,
        accepted: a.accepted + b.accepted,
        dropped: a.dropped + b.dropped,
        false: a.false + b.false,
        healed: a.healed + b.healed,
        wireBytes: a.wireBytes + b.wireBytes,
        proofs: a.proofs + b.proofs,
        storedBytes: a.storedBytes + b.storedBytes,
      };
