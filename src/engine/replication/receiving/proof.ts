/**
 * The proof of a subtree: everything that its closing rests on is held, by the level that was agreed (docs/replication.md
 * section 6). What is wanting is lost, and asked for; what the table counts in a lost place and this claim has brought is to
 * be healed; a node of the base that is lost is made again, or its pages are asked for.
 */
import { MAP_FANOUT } from '../../../domain/limits.ts';
import { childOf, isAbsent } from '../../map/node.ts';
import type { NewNode } from '../../map/update.ts';
import type { Location } from '../../repository/location.ts';
import { transferReader } from '../../repository/transfer-reader.ts';
import type { PackSize, PlacedValue } from '../../transfer/contract.ts';
import { mix } from '../../transfer/selection.ts';
import { verifyValues } from '../../transfer/verify.ts';
import type { Proof } from '../dictionary.ts';
import type { ProofLevel } from '../frames.ts';
import type { Name, Reference } from '../messages.ts';
import { surveyBase } from './base.ts';
import { broughtAt, countedAt } from './holdings.ts';
import { endOf } from './opening.ts';
import { applyPage, namesOf } from './pages.ts';
import type { BroughtValue } from './session-file.ts';
import { baseOf, type SessionState } from './state.ts';

/** What HEAL is told. */
export interface Cure {
  readonly lost: Buffer[];
  readonly brought: Map<Name, Location>;
  readonly packs: Map<string, PackSize>;
}

export interface Findings extends Proof {
  readonly cure: Cure;
  /** Nodes of the base to be put and healed. */
  readonly mended: readonly NewNode[];
  /** The base's nodes above the subtree are lost; it cannot be finished yet. */
  readonly topless: boolean;
}

/** One in so many names is read, within bounds. */
const SAMPLE_ONE_IN = 64;
const SAMPLE_MIN = 16;
const SAMPLE_MAX = 256;

export async function proveSubtree(state: SessionState, subtree: number): Promise<Findings> {
  // What brings all reads all, and so does what is in doubt: what cannot be read is asked for.
  const level = state.bringAll.has(subtree) || state.doubted.has(subtree) ? 'all' : state.opening.proof;
  state.counts.proofs++;
  await state.inventory.look(state.limits.listingMs);
  const { names, ...base } = await namesToProve(state, subtree, level);
  const cure: Cure = { lost: [], brought: new Map(), packs: new Map() };
  const lost = new Map<Name, number>();
  const lose = ({ at, name }: Reference): void => void lost.set(name, at);

  /** Takes a value as it was brought; `from`: the pack that its row points into. */
  const relyOnBrought = (reference: Reference, from: Location | null, relied: Map<Name, Relied>): void => {
    const name = Buffer.from(reference.name, 'hex');
    const brought = broughtAt(state, name);
    if (brought === null) return lose(reference);
    relied.set(reference.name, { reference, location: brought.location, brought, from });
  };

  const counted = new Map<Name, Relied>();
  const brought = new Map<Name, Relied>();
  for (const reference of names) {
    const row = countedAt(state, Buffer.from(reference.name, 'hex'));
    if (row !== null && !row.lost) counted.set(reference.name, { reference, location: row.location, brought: null, from: null });
    else relyOnBrought(reference, row?.location ?? null, brought);
  }
  for (const name of await damagedOf(state, level, counted)) {
    const relied = counted.get(name);
    if (relied !== undefined) relyOnBrought(relied.reference, relied.location, brought);
  }
  for (const name of await damagedOf(state, level, brought)) {
    const relied = brought.get(name);
    if (relied === undefined) continue;
    brought.delete(name);
    state.file.dropBrought(Buffer.from(name, 'hex'));
    lose(relied.reference);
  }
  for (const { reference, from, brought: value } of brought.values())
    if (from !== null && value !== null) heal(cure, reference.name, value, from);
  return { lost: [...lost].map(([name, at]) => ({ at, name })), cure, ...base };
}

/** A name, where it is believed to lie, and why. */
interface Relied {
  readonly reference: Reference;
  readonly location: Location;
  readonly brought: BroughtValue | null;
  /** Where the table says that it lies, which is not so. */
  readonly from: Location | null;
}

function heal(cure: Cure, name: Name, { location, pack }: BroughtValue, from: Location): void {
  cure.lost.push(from.pack);
  cure.brought.set(name, location);
  cure.packs.set(pack.id.toString('hex'), pack);
}

/** Each name of the subtree with its first position: what pages say, and where it is looked at the base's that stays. */
async function namesToProve(
  state: SessionState,
  subtree: number,
  level: ProofLevel,
): Promise<Pick<Findings, 'pages' | 'mended' | 'topless'> & { readonly names: readonly Reference[] }> {
  const { file, opening, inventory, receiver } = state;
  const gone: number[] = [];
  // What does not change is the base's, and lies in packs that the table counts: no pack is lost, none of it is.
  const looksAtBase = baseOf(state) !== null && (level !== 'listed' || inventory.anyLost());
  const survey = looksAtBase ? await surveyBase(state, subtree, level === 'all') : null;
  const first = new Map<Name, number>();
  const add = (name: Name, at: number): void => {
    if (!first.has(name)) first.set(name, at);
  };
  for (let leaf = 0; leaf < MAP_FANOUT; leaf++) {
    const page = file.page(subtree, leaf);
    const end = endOf(opening, subtree, leaf);
    // Noted, and rotten in the file since.
    if (page === null && receiver.subtrees.get(subtree)?.pages.has(leaf) === true) gone.push(leaf);
    const base = survey?.leaves.get(leaf);
    if (base === undefined) {
      if (page !== null) for (const { at, name } of namesOf(page, leaf, end)) add(name, at);
      continue;
    }
    const children = applyPage(page, base, end);
    for (let slot = 0; slot < end; slot++) {
      const name = childOf(children, slot);
      if (!isAbsent(name)) add(name.toString('hex'), leaf * MAP_FANOUT + slot);
    }
  }
  const names = [...first].map(([name, at]) => ({ at, name }));
  return { names, pages: [...gone, ...(survey?.pages ?? [])], mended: survey?.mended ?? [], topless: survey?.topless ?? false };
}

/** Reads what the level asks to be read; the names of what is not what they say. */
async function damagedOf(state: SessionState, level: ProofLevel, relied: ReadonlyMap<Name, Relied>): Promise<readonly Name[]> {
  const all = [...relied.values()];
  const chosen = level === 'listed' ? [] : level === 'all' ? all : sampleOf(all, state.repository.environment.random(4).readUInt32BE(0));
  if (chosen.length === 0) return [];
  const { repository, opening, threads, signal } = state;
  const reader = transferReader(repository, opening.store);
  const { damage } = await verifyValues({ reader, extentBytes: opening.extentBytes, threads, signal, values: placed(chosen) });
  return damage.flatMap(({ fingerprint }) => fingerprint ?? []);
}

async function* placed(relied: readonly Relied[]): AsyncGenerator<PlacedValue> {
  for (const { reference, location } of relied) yield { extent: reference.at, fingerprint: Buffer.from(reference.name, 'hex'), location };
}

/** One of each of n equal strata. */
function sampleOf<T>(all: readonly T[], seed: number): T[] {
  const count = Math.min(all.length, Math.max(SAMPLE_MIN, Math.min(SAMPLE_MAX, Math.ceil(all.length / SAMPLE_ONE_IN))));
  const chosen: T[] = [];
  for (let i = 0; i < count; i++) {
    const from = Math.floor((i * all.length) / count);
    const to = Math.floor(((i + 1) * all.length) / count);
    const one = all[from + (mix(seed ^ mix(i)) % Math.max(1, to - from))];
    if (one !== undefined) chosen.push(one);
  }
  return chosen;
}
