/**
 * What a run does, decided by its seed alone: the group, how often its server is killed, what becomes of its stores and its clock, and how it
 * ends. When things meet is the machine's.
 */
import { diceOf, type Dice } from '../volumes/dice.ts';
import type { StoreWeather } from './store-link.ts';
import { CALM } from './store-link.ts';

export const REGIONS = ['a', 'b', 'c'] as const;
export const STORES = ['log', ...REGIONS] as const;
export type StoreId = (typeof STORES)[number];

/** Stores have this weather from a time on, for so long. */
export interface Spell {
  readonly fromMs: number;
  readonly forMs: number;
  readonly stores: readonly StoreId[];
  readonly weather: StoreWeather;
}

export type Ending =
  /** The server is there at the end, or comes back. */
  | { readonly kind: 'own' }
  /** The server is killed, its folder is gone; somebody takes over. */
  | { readonly kind: 'host lost' }
  /** Somebody takes over while the owner is alive: as it is, standing still, without its log, or without any store. */
  | { readonly kind: 'rival'; readonly owner: 'awake' | 'frozen' | 'without log' | 'without stores' };

/** The server is killed, with its machine or without. */
export interface Kill {
  readonly atMs: number;
  /** What its page cache had that no sync has covered is gone, as chance has it. */
  readonly machine: boolean;
}

export interface Script {
  readonly seed: number;
  readonly mode: 'local' | 'pair';
  readonly disks: number;
  readonly depth: number;
  readonly batchMs: number;
  readonly memberMsMax: number;
  /** Mode `local`, so little that order is lost when the regions are away. */
  readonly heldBytesMax: number | null;
  readonly spare: boolean;
  /** A member of a pair that goes away for good while it is loaded: its spare must take its place. */
  readonly gone: StoreId | null;
  /** One more disk of the group, which fio loads. */
  readonly fio: boolean;
  readonly loadMs: number;
  /** From the beginning of the load. */
  readonly kills: readonly Kill[];
  /** When the S3 server that has all the stores is killed, and begun again. */
  readonly strikes: readonly number[];
  readonly spells: readonly Spell[];
  readonly jumps: readonly { readonly atMs: number; readonly offsetMs: number }[];
  /** How far the clock of whoever takes over is from the machine's. */
  readonly otherClockMs: number;
  readonly ending: Ending;
}

const DAY_MS = 86_400_000;

export function writeScript(seed: number): Script {
  const dice = diceOf(seed, 'script');
  const mode = dice.pick(['local', 'pair'] as const);
  const loadMs = dice.between(700, 1800);
  const trouble = dice.pick(['none', 'none', 'storm', 'outage', 'silence', 'slow'] as const);
  const spells = spellsOf(trouble, loadMs, mode, dice);
  const ending = endingOf(dice);
  const script: Script = {
    ...{ seed, mode, loadMs, spells, ending, heldBytesMax: null, gone: null },
    disks: dice.between(1, 2),
    depth: dice.pick([2, 8, 16]),
    batchMs: dice.pick([20, 60, 200]),
    memberMsMax: dice.pick([1500, 10_000]),
    spare: dice.chance(0.5),
    kills: killsOf(ending, loadMs, dice),
    jumps: dice.chance(0.3) ? [{ atMs: dice.below(loadMs), offsetMs: dice.pick([-DAY_MS, DAY_MS]) }] : [],
    strikes: dice.chance(0.2) ? [dice.below(loadMs)] : [],
    fio: dice.chance(0.3),
    otherClockMs: dice.pick([0, 0, -DAY_MS, DAY_MS]),
  };
  if (mode === 'local') return trouble === 'outage' && dice.chance(0.6) ? overloaded(script) : script;
  return trouble === 'outage' && dice.chance(0.5) ? bereft(script, dice.pick(['a', 'b'] as const)) : script;
}

/** A pair loses a member, and has a spare. */
function bereft(script: Script, gone: StoreId): Script {
  const away: Spell = { fromMs: 300, forMs: Infinity, stores: [gone], weather: { ...CALM, passes: 'away' } };
  return { ...script, gone, spare: true, memberMsMax: 1500, kills: [], strikes: [], loadMs: 3000, spells: [away], ending: { kind: 'own' } };
}

/** More is written than its owner and what waits before it can hold, while the regions are away. */
function overloaded(script: Script): Script {
  const outage: Spell = { fromMs: 200, forMs: 1800, stores: ['a', 'b', 'c'], weather: { ...CALM, passes: 'away' } };
  return { ...script, depth: 32, heldBytesMax: 128 * 1024, kills: [], strikes: [], loadMs: 2100, spells: [outage] };
}

function endingOf(dice: Dice): Ending {
  const roll = dice.below(100);
  if (roll < 50) return { kind: 'own' };
  if (roll < 65) return { kind: 'host lost' };
  return { kind: 'rival', owner: dice.pick(['awake', 'frozen', 'without log', 'without stores'] as const) };
}

/** A machine is lost where its owner comes back and makes a base: no points follow before. */
function killsOf(ending: Ending, loadMs: number, dice: Dice): readonly Kill[] {
  const most = ending.kind === 'own' ? dice.between(1, 2) : dice.below(2);
  const kill = (): Kill => ({ atMs: dice.between(100, loadMs), machine: ending.kind === 'own' && dice.chance(0.3) });
  return Array.from({ length: most }, kill).sort((a, b) => a.atMs - b.atMs);
}

function spellsOf(trouble: string, loadMs: number, mode: Script['mode'], dice: Dice): readonly Spell[] {
  const some = (): readonly StoreId[] => STORES.filter(() => dice.chance(0.5));
  const spell = (weather: Partial<StoreWeather>, stores: readonly StoreId[], forMs: number): Spell => ({
    ...{ fromMs: dice.below(loadMs), forMs, stores, weather: { ...CALM, ...weather } },
  });
  switch (trouble) {
    case 'storm':
      return [{ ...spell({ late: 0.08, lost: 0.08, doubled: 0.08, slowMs: dice.pick([0, 20]) }, STORES, Infinity), fromMs: 0 }];
    case 'outage':
      return [
        spell({ passes: 'away' }, mode === 'local' ? ['a', 'b'] : [dice.pick(['a', 'b'] as const)], dice.between(400, 1500)),
        spell({ passes: 'away' }, ['log'], dice.between(100, 800)),
      ];
    case 'silence':
      return [spell({ passes: 'silent' }, some(), dice.between(100, 900)), spell({ passes: 'silent' }, some(), dice.between(100, 900))];
    case 'slow':
      return [spell({ slowMs: dice.between(40, 300) }, some(), dice.between(300, 1500))];
    default:
      return [];
  }
}
