/**
 * Healing: a value that the table counts and whose bytes are lost lies from now on where an open claim has brought it.
 *
 * Bringing it is not enough: of two copies the first live location wins, so the row would point into the lost pack for ever. A
 * HEAL moves the row. It is REPLACE under another fence: not the collector's claim but the one whose packs the values lie in,
 * so those are not swept before the record is in, and have rows after. What died or moved meanwhile stays (hole 13), and of a
 * pack that is only partly lost what still opens stays. `from` may be wrong (a store that said 404 and has it): both copies
 * are whole then, and the row points to one.
 */
import { HoldfastError } from '../../domain/errors.ts';
import type { PackSize } from '../transfer/contract.ts';
import { emptyPart, PART_ROWS_MAX, type PackRow, type ValueRow } from './change.ts';
import { claimAt } from './claims.ts';
import type { Actor } from './entries.ts';
import type { Claim } from './ledger.ts';
import type { Location } from './location.ts';
import { decodePackId } from './object-names.ts';
import type { Repository } from './repository.ts';

/** Lost packs that one entry names, which its schema bounds. */
const PACKS_AN_ENTRY = 4096;

/** The claim that has brought the values, and where its change parts go. */
interface HealingClaim {
  readonly actor: Actor;
  readonly epoch: number;
  nextName(): string;
}

export interface Cure {
  /** Ids of packs that a proof found wanting. */
  readonly lost: readonly Buffer[];
  /** Where values lie now, by fingerprint in hex. */
  readonly brought: ReadonlyMap<string, Location>;
  /** The packs that they lie in, by id in hex. */
  readonly packs: ReadonlyMap<string, PackSize>;
  readonly signal?: AbortSignal | undefined;
}

export interface HealOutcome {
  /** Values whose rows were moved by this call. */
  readonly moved: number;
}

/** What one entry moves. */
interface Batch {
  readonly from: readonly string[];
  readonly values: readonly ValueRow[];
  readonly packs: readonly PackRow[];
}

export async function healValues(repository: Repository, by: HealingClaim, { lost, brought, packs, signal }: Cure): Promise<HealOutcome> {
  const from = new Set(lost.map((id) => id.toString('hex')));
  let moved = 0;
  // Until nothing is found twice: a row that has rotted in the local cache is not found until a sync has built it anew.
  for (let idle = 0; idle < 2;) {
    signal?.throwIfAborted();
    await repository.sync();
    const batch = nextBatch(repository, from, brought, packs);
    if (batch === null) {
      idle++;
      continue;
    }
    idle = 0;
    const { actor, epoch } = by;
    refuseForeign(batch, claimAt(repository, actor, epoch));
    const change = await repository.changes.write(by.nextName(), { ...emptyPart, values: batch.values, packs: batch.packs });
    let moving = 0;
    await repository.append(() => {
      moving = batch.values.filter(({ fingerprint }) => packOf(repository, fingerprint, from) !== null).length;
      return moving === 0 ? null : { kind: 'HEAL', actor, epoch, from: [...batch.from], change };
    });
    moved += moving;
  }
  return { moved };
}

/** The lost pack, in hex, that a value's row points into; null when it is dead or lies elsewhere. */
function packOf(repository: Repository, fingerprint: Buffer, lost: ReadonlySet<string>): string | null {
  const pack = repository.table.get(fingerprint)?.location.pack.toString('hex');
  return pack !== undefined && lost.has(pack) ? pack : null;
}

/** As many values as one entry and one part of a change may hold; null when none of them lies in a lost pack. */
function nextBatch(
  repository: Repository,
  lost: ReadonlySet<string>,
  brought: ReadonlyMap<string, Location>,
  packs: ReadonlyMap<string, PackSize>,
): Batch | null {
  const from = new Set<string>();
  const values: ValueRow[] = [];
  const into = new Map<string, PackRow>();
  for (const [key, location] of brought) {
    if (values.length === PART_ROWS_MAX) break;
    const fingerprint = Buffer.from(key, 'hex');
    const pack = packOf(repository, fingerprint, lost);
    if (pack === null) continue;
    const id = location.pack.toString('hex');
    // What was brought and lost again is no cure; a pack too many waits for the next entry.
    if (lost.has(id) || (!from.has(pack) && from.size === PACKS_AN_ENTRY)) continue;
    from.add(pack);
    values.push({ fingerprint, location });
    into.set(id, packRow(repository, location.pack, Buffer.from(pack, 'hex'), packs.get(id)));
  }
  return values.length === 0 ? null : { from: [...from], values, packs: [...into.values()] };
}

/** Packs hold one kind, so the kind is that of the pack that the value was lost in. */
function packRow(repository: Repository, id: Buffer, lost: Buffer, size: PackSize | undefined): PackRow {
  if (size === undefined)
    throw new HoldfastError('INTERNAL', 'a value is healed from a pack whose size is not given', { pack: id.toString('hex') });
  return { id, kind: repository.table.pack(lost)?.kind ?? 'extent', blobs: size.blobs, bytes: size.bytes };
}

/** Packs of a claim that is not held open may be swept before the record is in. */
function refuseForeign({ packs }: Batch, { epoch, kept }: Claim): void {
  for (const { id } of packs) {
    const { claim } = decodePackId(id);
    if (claim !== epoch && !kept.includes(claim))
      throw new HoldfastError('INTERNAL', 'a value is healed from a pack that its claim does not hold open', { pack: id.toString('hex') });
  }
}
