/**
 * The oracle: it sees every change of a simulated store at the instant that it takes effect, and says what may not be.
 *
 * Beside the real fold, run record by record, stands the reference: what every snapshot should hold, how many runs each
 * value has, where trees differ, computed from contents alone. After each record: it stands at n+1 and follows the one
 * before; it is admissible; the objects that it names are there as it names them; counts are as recounted; every counted
 * value has its bytes in a pack that is there, unless injected damage took them; a HEAL moves what lies in a harmed pack and
 * nothing else; stored diffs are the trees' diffs; no request took effect twice. At each delete: nothing needs the object. Now
 * and then: a cold fold from the newest checkpoint equals the running one.
 *
 * It judges harm, not obedience: with a safeguard patched out of the real code its own fold lacks it, too, and what has to
 * fail then is a count, a byte or a promise.
 */
import { isDeepStrictEqual } from 'node:util';
import { digestOf } from '../../src/engine/log/digest.ts';
import { decodeChangePart, type ChangePart } from '../../src/engine/repository/change.ts';
import { loadCheckpoint, newestCheckpoint } from '../../src/engine/repository/checkpoint.ts';
import { entrySchema, type Entry, type EntryOf } from '../../src/engine/repository/entries.ts';
import { foldRecords } from '../../src/engine/repository/fold.ts';
import { applyEntry, cloneLedger, emptyLedger, judge, type Ledger } from '../../src/engine/repository/ledger.ts';
import { createMemoryTable, type MemoryTable } from '../../src/engine/repository/memory-table.ts';
import { packNameOf, parseClaimObject, encodePackId } from '../../src/engine/repository/object-names.ts';
import { openDirectory, packKeyOf, parseTrailer, TRAILER_BYTES } from '../../src/engine/repository/pack.ts';
import type { StoredRecord } from '../../src/engine/log/log.ts';
import { openEnvelope, type SealingKey } from '../../src/ground/sealing/envelope.ts';
import { describeState } from './state.ts';
import type { Losses } from './losses.ts';
import type { Objects, ObjectsObserver } from './objects.ts';
import { createReference, NOTHING, ROOT } from './reference.ts';
import { Violation } from './violation.ts';
import type { Image } from './volumes.ts';

export interface Oracle extends ObjectsObserver {
  ledger(): Ledger;
  readonly table: MemoryTable;
  /** Entries of record n, if there is one. */
  record(n: number): readonly Entry[] | undefined;
  /** The values, in hex, that a pack was put with. */
  valuesOf(pack: string): Iterable<string>;
  /** Folds the log anew, from the newest checkpoint, and compares. */
  checkCold(): Promise<void>;
}

type Row = readonly [offset: number, length: number];
/** Entries that may rightly be admissible a second time. */
const REPEATABLE: ReadonlySet<Entry['kind']> = new Set(['CLAIM', 'REPLACE', 'HEAL', 'PIN', 'RETIRE', 'HIDE', 'UNHIDE']);
const CHANGES_TABLE: ReadonlySet<Entry['kind']> = new Set(['COMMIT', 'RECLAIM', 'REPLACE', 'HEAL']);

export function createOracle(
  objects: () => Objects,
  key: SealingKey,
  imageOf: (snapshot: string) => Image,
  losses: Losses,
  trace: ((line: string) => void) | null,
): Oracle {
  const reference = createReference();
  const records = new Map<number, StoredRecord<Entry>>();
  const directories = new Map<string, ReadonlyMap<string, Row>>();
  const decoded = new Map<string, { readonly stored: Buffer; readonly part: ChangePart }>();
  const visibility = new Set<string>();
  const diffsSeen = new Set<string>();
  const table = createMemoryTable();
  let ledger = emptyLedger();

  /** A change part as it lies in the store now. */
  const partOf = (name: string, digest: string | null): ChangePart => {
    const stored = objects().byName.get(name);
    if (!stored) throw new Violation(`${name} is named by a record and is not there`);
    const known = decoded.get(name);
    if (known?.stored === stored) return known.part;
    if (digest !== null && digestOf(stored) !== digest) throw new Violation(`${name} is not the object that the record names`);
    const part = decodeChangePart(openEnvelope(key, name, stored), name);
    decoded.set(name, { stored, part });
    return part;
  };

  const partsOf = (name: string, digest: string | null): (ChangePart & { readonly name: string })[] => {
    const root = partOf(name, digest);
    return [...root.parts.map((ref) => ({ name: ref.name, ...partOf(ref.name, ref.digest) })), { name, ...root }];
  };

  const readRecord = (seq: number, name: string, stored: Buffer): StoredRecord<Entry> => {
    const { entries, ...head } = JSON.parse(openEnvelope(key, name, stored).toString('utf8')) as StoredRecord<unknown>;
    if (head.seq !== seq) throw new Violation(`${name} holds record ${head.seq}`);
    return { ...head, entries: entries.map((entry) => entrySchema.parse(entry)), digest: digestOf(stored) };
  };

  const accept = (name: string, stored: Buffer): void => {
    const seq = Number(name.slice('log/'.length));
    if (seq !== ledger.n + 1) throw new Violation(`record ${seq} was accepted while the log stood at ${ledger.n}`);
    const record = readRecord(seq, name, stored);
    trace?.(`       record ${seq}: ${record.entries.map(shortEntry).join(' + ')}`);
    if (record.previous !== ledger.head) throw new Violation(`record ${seq} does not follow the one before it`);
    const before = cloneLedger(ledger);
    for (const entry of record.entries) {
      admit(before, entry);
      applyEntry(before, entry, seq);
    }
    const checkHeal = record.entries.flatMap((entry) => (entry.kind === 'HEAL' ? [expectHeal(entry)] : []));
    const result = foldRecords(ledger, table, [record], (root) => partsOf(root, digestIn(record, root)));
    for (const { entry, reason } of result.voided) throw new Violation(`the log holds an inadmissible ${entry.kind}: ${reason}`);
    ledger = result.ledger;
    records.set(seq, record);
    for (const entry of record.entries)
      if (!REPEATABLE.has(entry.kind) && judge(ledger, entry) === null) throw new Violation(`a ${entry.kind} would apply twice`);
    for (const check of checkHeal) check();
    if (record.entries.some((entry) => CHANGES_TABLE.has(entry.kind))) checkTable();
  };

  /** What a HEAL may move, and has to, as of right before it; called after it was folded. */
  const expectHeal = ({ from, change }: EntryOf<'HEAL'>): (() => void) => {
    const before = [...table.rows()];
    const named = new Set(
      partsOf(change.name, change.digest).flatMap(({ values }) => values.map((row) => row.fingerprint.toString('hex'))),
    );
    return () => {
      for (const { fingerprint, location } of before) {
        const value = fingerprint.toString('hex');
        const after = table.get(fingerprint)?.location;
        const isLost = losses.isLost(value, location);
        const stays = after?.pack.equals(location.pack) === true && after.offset === location.offset;
        // Of a pack that is harmed in part, what still opens may move as well, if it was brought: both copies are whole.
        if (!stays && !losses.isHarmed(packNameOf(location.pack))) throw new Violation(`a HEAL moved ${value}, which was not lost`);
        if (isLost && stays && named.has(value) && from.includes(location.pack.toString('hex')))
          throw new Violation(`a HEAL left ${value} where it is lost`);
      }
    };
  };

  /** What must hold of an entry right before it applies. */
  const admit = (before: Ledger, entry: Entry): void => {
    const refusal = judge(before, entry);
    if (refusal) throw new Violation(`the log holds an inadmissible ${entry.kind}: ${refusal.reason}`);
    if (entry.kind === 'HIDE' || entry.kind === 'UNHIDE') {
      const request = `${entry.snapshot} ${entry.version}`;
      if (visibility.has(request)) throw new Violation('a request took effect twice, or after another one had been decided on');
      visibility.add(request);
    }
    if (entry.kind === 'CLAIM') {
      const open = before.claims.get(entry.actor);
      if (open?.owner === entry.owner && open.snapshot === entry.snapshot && open.attempt > entry.attempt)
        throw new Violation('an attempt that woke up late took over from its successor');
    }
    if (entry.kind === 'COMMIT' && entry.root !== (reference.tree(imageOf(entry.snapshot)).get(ROOT) ?? null))
      throw new Violation(`the root of ${entry.snapshot} is not that of its content`);
    if (entry.kind === 'RECLAIM') {
      const snapshot = before.snapshots.get(entry.snapshot);
      const newest = snapshot && before.order.get(snapshot.lineage)?.at(-1) === snapshot.id;
      if (newest && !snapshot.purge && !before.retired.has(snapshot.lineage))
        throw new Violation('the base of a living lineage was reclaimed');
    }
  };

  const checkTable = (): void => {
    const expected = new Map<string, number>();
    for (const ids of ledger.order.values())
      ids.forEach((id, i) => {
        const before = ids[i - 1];
        for (const [value, runs] of reference.runs(before === undefined ? null : imageOf(before), imageOf(id)))
          expected.set(value, (expected.get(value) ?? 0) + runs);
        if (before !== undefined) checkDiff(before, id);
      });
    const uses = new Map<string, { blobs: number; bytes: number }>();
    for (const { fingerprint, runs, location } of table.rows()) {
      const value = fingerprint.toString('hex');
      if (expected.get(value) !== runs) throw new Violation(`${value} has ${runs} runs by count, ${expected.get(value) ?? 0} by recount`);
      expected.delete(value);
      const pack = packNameOf(location.pack);
      const row = directories.get(pack)?.get(value);
      if (!row || row[0] !== location.offset || row[1] !== location.length)
        throw new Violation(`a counted value has no bytes: ${value} is not in ${pack}`);
      const use = uses.get(pack) ?? { blobs: 0, bytes: 0 };
      uses.set(pack, { blobs: use.blobs + 1, bytes: use.bytes + location.length });
    }
    for (const [value, runs] of expected) throw new Violation(`${value} has no runs by count, ${runs} by recount`);
    for (const pack of table.packs()) {
      const name = packNameOf(pack.id);
      const use = uses.get(name);
      if (use?.blobs !== pack.liveBlobs || use.bytes !== pack.liveBytes) throw new Violation(`the use of ${name} is not as recounted`);
      if (losses.isHarmed(name)) continue;
      if (pack.bytes !== objects().byName.get(name)?.length || pack.blobs !== directories.get(name)?.size)
        throw new Violation(`${name} is not of the size that its record says`);
    }
  };

  const checkDiff = (before: string, id: string): void => {
    const snapshot = [...ledger.snapshots.values()].find((one) => one.id === id);
    if (!snapshot?.diff) throw new Violation(`${id} has a predecessor and no diff`);
    const parts = partsOf(snapshot.diff.name, snapshot.diff.digest);
    const seen = `${snapshot.diff.name} ${before} ${id}`;
    if (diffsSeen.has(seen)) return;
    diffsSeen.add(seen);
    const rows = parts.flatMap(({ diff }) =>
      diff.map((row) => `${row.level}:${row.index} ${row.old.toString('hex')} ${row.new.toString('hex')}`),
    );
    if (!isDeepStrictEqual(rows.sort(), reference.diff(imageOf(before), imageOf(id))))
      throw new Violation(`the stored diff of ${id} is not the difference from ${before}`);
    if (rows.some((row) => row.endsWith(`${NOTHING} ${NOTHING}`))) throw new Violation('a diff row of nothing');
  };

  return {
    ledger: () => ledger,
    table,
    record: (n) => records.get(n)?.entries,
    valuesOf: (pack) => directories.get(pack)?.keys() ?? [],

    put(name, stored) {
      if (name.startsWith('log/')) return accept(name, stored);
      if (parseClaimObject(name)?.kind !== 'pack') return;
      const trailer = parseTrailer(stored.subarray(stored.length - TRAILER_BYTES), stored.length, name);
      const { offset, length } = trailer;
      const rows = openDirectory(packKeyOf(key, name), stored.subarray(offset, offset + length), trailer, name);
      directories.set(name, new Map(rows.map((row) => [row.fingerprint.toString('hex'), [row.offset, row.length]])));
    },

    deleted(name) {
      directories.delete(name);
      decoded.delete(name);
      const object = parseClaimObject(name);
      if (object?.kind === 'pack' && table.pack(encodePackId(object)) !== null) throw new Violation(`${name} was deleted, and is in use`);
      if (object?.kind === 'change' && table.holdsPart(name)) throw new Violation(`${name} was deleted, and is part of a live diff`);
    },

    async checkCold() {
      const { instant } = objects();
      const cold = createMemoryTable();
      const newest = await newestCheckpoint(instant, key);
      let at = newest === null ? emptyLedger() : await loadCheckpoint(instant, key, newest, cold);
      for (let record = records.get(at.n + 1); record; record = records.get(at.n + 1)) {
        const reading = record;
        at = foldRecords(at, cold, [record], (root) => partsOf(root, digestIn(reading, root))).ledger;
      }
      const [one, other] = [describeState(at, cold), describeState(ledger, table)];
      if (one !== other) throw new Violation(`a cold fold from ${newest?.n ?? 0} differs from the running one at ${ledger.n}`);
    },
  };
}

const digestIn = (record: StoredRecord<Entry>, root: string): string | null => {
  for (const entry of record.entries) if ('change' in entry && entry.change.name === root) return entry.change.digest;
  return null;
};

function shortEntry(entry: Entry): string {
  const { kind, ...fields } = entry;
  const told = Object.entries<unknown>(fields).flatMap(([name, value]) => {
    if (['takenMs', 'label', 'consistency', 'rootLocation', 'sizeBytes', 'extentBytes', 'why'].includes(name)) return [];
    const text = typeof value === 'object' && value !== null && 'name' in value ? value.name : value;
    return [`${name}=${typeof text === 'string' ? text : JSON.stringify(text)}`];
  });
  return `${kind} ${told.join(' ')}`;
}
