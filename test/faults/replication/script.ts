/**
 * What a run does, decided by its seed alone: what is captured, what is lost of it at the receiver and when, who else sends, and
 * how the weather is. When things meet is the machine's.
 *
 * A quarter of the runs are of the loss test: nothing disturbs them but the loss itself and the collector, and every byte that is
 * sent is accounted for. The others are storms.
 */
import type { ProofLevel } from '../../../src/engine/replication/frames.ts';
import type { ImageWrite } from '../../systems/image.ts';
import type { Damage } from '../../engine/replication/receiving/harm.ts';
import { diceOf, type Dice } from '../volumes/dice.ts';
import { CALM, type Weather } from './proxy.ts';

export const EXTENT_BYTES = 16 * 1024;
const SUBTREE_BYTES = 65_536 * EXTENT_BYTES;

export interface VolumePlan {
  readonly name: string;
  readonly sizeBytes: number;
  /** What is written before each snapshot. */
  readonly snapshots: readonly (readonly ImageWrite[])[];
}

export interface Loss {
  readonly damage: Damage;
  readonly percent: number;
  /** It strikes while this snapshot of the first volume is sent, after its names were answered for the n-th time. */
  readonly snapshot: number;
  readonly nth: number;
}

export interface Script {
  readonly seed: number;
  readonly kind: 'loss' | 'storm';
  readonly volumes: readonly [VolumePlan, VolumePlan];
  readonly proof: ProofLevel;
  readonly losses: readonly Loss[];
  /** A second sender on the lineage of the first volume: at which snapshot, and whether with the same one or the one after it. */
  readonly rival: { readonly snapshot: number; readonly sends: 'same' | 'next' } | null;
  readonly weather: Weather;
  readonly awayMs: number | null;
  readonly senderKillsMost: number;
  readonly receiverKillsMost: number;
}

const DAMAGES: readonly Damage[] = ['delete', 'truncate', 'corrupt'];
const PERCENTS = [1, 10, 50] as const;
/** One in so many seeds has its link cut for a minute. */
const MINUTE_EVERY = 100;

export function writeScript(seed: number): Script {
  const dice = diceOf(seed, 'script');
  const kind = dice.chance(0.25) ? 'loss' : 'storm';
  const snapshots = kind === 'loss' ? 4 : dice.between(2, 4);
  const volumes = [volumePlan('a', snapshots, dice), volumePlan('b', snapshots - Number(dice.chance(0.5)), dice)] as const;
  if (kind === 'loss') {
    const loss = { damage: dice.pick(DAMAGES), percent: dice.pick(PERCENTS), snapshot: snapshots - 1, nth: 1 };
    const proof = loss.damage === 'corrupt' || dice.chance(0.5) ? 'all' : 'listed';
    return {
      ...{ seed, kind, volumes, proof, losses: [loss], rival: null, weather: CALM, awayMs: null },
      ...{ senderKillsMost: 0, receiverKillsMost: 0 },
    };
  }
  const isFoul = dice.chance(0.8);
  return {
    ...{ seed, kind, volumes, proof: dice.pick(['listed', 'sampled', 'all'] as const) },
    losses: Array.from({ length: dice.pick([0, 0, 1, 2]) }, () => ({
      ...{ damage: dice.pick(DAMAGES), percent: dice.pick(PERCENTS), snapshot: dice.below(snapshots), nth: dice.between(1, 3) },
    })),
    rival: dice.chance(0.35) ? { snapshot: dice.below(snapshots), sends: dice.pick(['same', 'next'] as const) } : null,
    weather: isFoul ? { cut: 0.06, delayed: 0.2, doubled: 0.15, lost: 0.1, delayMsMost: dice.pick([10, 60, 150]) } : CALM,
    awayMs: seed % MINUTE_EVERY === MINUTE_EVERY - 1 ? 60_000 : dice.chance(0.25) ? dice.between(200, 1500) : null,
    senderKillsMost: dice.between(0, 2),
    receiverKillsMost: dice.between(0, 2),
  };
}

/** Content of both volumes comes out of one pool: values come back, and are shared. */
const CONTENTS = 400;

function volumePlan(name: string, snapshots: number, dice: Dice): VolumePlan {
  const wide = dice.chance(0.15);
  const extents = dice.between(300, 700);
  const sizeBytes = wide ? SUBTREE_BYTES + extents * EXTENT_BYTES : extents * EXTENT_BYTES - dice.pick([0, 512, 5000]);
  const at = (): number => (wide && dice.chance(0.4) ? 65_536 : 0) + dice.below(extents);
  const writes = (count: number): ImageWrite[] =>
    Array.from({ length: count }, () => ({ extent: at(), content: dice.chance(0.05) ? 0 : 1 + dice.below(CONTENTS) }));
  return {
    ...{ name, sizeBytes },
    snapshots: Array.from({ length: snapshots }, (_, i) => [
      ...writes(i === 0 ? dice.between(60, 200) : dice.between(5, 60)),
      // Something that is new, whatever the pool has.
      { extent: at(), content: 1000 + 2 * (dice.below(1_000_000) + 1) },
    ]),
  };
}
