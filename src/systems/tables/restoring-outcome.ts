/** What a past state came to, in errors that name what can be had instead, and in a report that is small however large the table. */
import { HoldfastError } from '../../domain/errors.ts';
import { formatMicros } from '../../domain/micros.ts';
import type { PastAsked } from '../../domain/past-states.ts';
import { parsePosition } from '../../engine/tables/events/position.ts';
import type { PastOutcome, PastProof } from '../../engine/tables/past-state/past-state.ts';
import type { Target } from '../../engine/tables/past-state/plan.ts';
import type { TransactionTarget } from '../../engine/tables/past-state/targets.ts';
import { windowOf, type PastWindow } from '../../engine/tables/past-state/window.ts';
import type { TableState } from '../../engine/tables/archive/state.ts';

const moment = (us: number | null): string => (us === null ? 'none' : formatMicros(us));

/** PAST_OUTSIDE: the window, who holds it back, and the nearest moment in it. */
function outside(window: PastWindow, nearestUs: number | null): HoldfastError {
  const { earliestUs, latestUs, earliestBy, latestBy } = window;
  const none = earliestUs === null || latestUs === null || earliestUs > latestUs;
  const message = none
    ? `no past state can be had yet: ${earliestUs === null ? `${earliestBy ?? 'a partition'} is not whole` : `${latestBy ?? 'a partition'} has shown nothing late enough`}`
    : `past states can be had from ${moment(earliestUs)} to ${moment(latestUs)}; the nearest is ${moment(nearestUs)}`;
  return new HoldfastError('PAST_OUTSIDE', message, {
    ...{ earliest: moment(earliestUs), latest: moment(latestUs), nearest: moment(nearestUs) },
    ...{ earliestBy: earliestBy ?? '', latestBy: latestBy ?? '' },
  });
}

/** What was built or found; else the error that says why there is nothing. */
export function builtOrThrow<Built>(outcome: Built | Exclude<PastOutcome, { kind: 'built' }>): Built {
  if (typeof outcome !== 'object' || outcome === null || !('kind' in outcome)) return outcome;
  // The kinds of what is there are its own; these three are the same wherever they come from.
  const other = outcome as Exclude<PastOutcome, { kind: 'built' }>;
  switch (other.kind) {
    case 'outside':
      throw outside(other.window, other.nearestUs);
    case 'unknown':
      throw new HoldfastError('TRANSACTION_NOT_FOUND', 'no event of that transaction is in the archive', {
        ...{ earliest: moment(other.window.earliestUs), latest: moment(other.window.latestUs) },
      });
    case 'several':
      throw new HoldfastError(
        'TRANSACTION_AMBIGUOUS',
        `several transactions had that number, committed at ${other.stampsUs.map(moment).join(', ')}`,
        {
          moments: other.stampsUs.map(moment),
        },
      );
    default:
      return outcome as Built;
  }
}

/** What was asked for, settled: LATEST is a moment from then on, so that every try builds the same. */
export function settleAsked(state: TableState, asked: PastAsked): Exclude<PastAsked, { kind: 'latest' }> {
  const window = windowOf(state);
  const { earliestUs, latestUs } = window;
  if (asked.kind !== 'latest' && asked.kind !== 'time') return asked;
  const us = asked.kind === 'time' ? asked.us : latestUs;
  if (us === null || earliestUs === null || latestUs === null || earliestUs > latestUs) throw outside(window, null);
  if (us < earliestUs) throw outside(window, earliestUs);
  if (us > latestUs) throw outside(window, latestUs);
  return { kind: 'time', us };
}

export const targetOf = (asked: Exclude<PastAsked, { kind: 'latest' }>): Target | TransactionTarget =>
  asked.kind === 'position' ? { kind: 'position', position: parsePosition(asked.position) } : asked;

const PARTITIONS_SHOWN = 100;
const COLUMNS_SHOWN = 100;

/** The proof, small: counts where there may be very many. */
export function proofReport(proof: PastProof) {
  const { rows, hash, cut, window, late, contradicted, unresolved, quarantined, gaps, partitions, columns } = proof;
  return {
    ...{ rows, hash, cut, earliest: moment(window.earliestUs), latest: moment(window.latestUs) },
    ...{ late, contradicted, unresolved, gaps: gaps.length },
    quarantined: Object.values(quarantined).reduce((sum, count) => sum + count, 0),
    partitions: partitions.slice(0, PARTITIONS_SHOWN).map(({ id, base, read }) => ({
      ...{ id, base, from: read[0]?.from ?? null, to: read.at(-1)?.to ?? null },
    })),
    columns: columns.slice(0, COLUMNS_SHOWN),
  };
}
export type ProofReport = ReturnType<typeof proofReport>;
