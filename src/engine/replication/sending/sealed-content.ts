/**
 * The content of a session whose extents are sealed by the sender: a volume of sealed extents, with names and a map of its own.
 *
 * Position by position it follows from the snapshot: where two snapshots have the same extent, their sealed ones have the same
 * name. So which pages differ is the plain content's to say, and only names and bytes are exchanged. The root is needed
 * before anything is sent, so whatever has no name yet is read and sealed when the content is opened, and read again when it
 * is asked for. Sealing is the main thread's: it is the slower mode.
 */
import { HoldfastError } from '../../../domain/errors.ts';
import { MAP_FANOUT, MAP_HEIGHT } from '../../../domain/limits.ts';
import { encodeBody, type Codec } from '../../../ground/sealing/blob.ts';
import { ABSENT, CHILDREN_BYTES, FINGERPRINT_BYTES, childOf, encodeNode, fingerprintOf, isAbsent } from '../../map/node.ts';
import { mapRoot, type NodeView } from '../../map/walk.ts';
import type { Snapshot } from '../../repository/ledger.ts';
import { LOCATION_BYTES, readLocation } from '../../repository/location.ts';
import type { RepositoryReader } from '../../repository/reader.ts';
import type { KnownBase } from '../frames.ts';
import type { Name } from '../messages.ts';
import { ZEROS } from '../wire/content-reader.ts';
import type { Against, DueValue, ReadValue, SessionContent } from './content.ts';
import { sealedBytes, sealExtent, type SealedKeys } from './sealed.ts';
import type { SealedNames } from './sealed-names.ts';
import type { ValueSource } from './value-source.ts';

/** What zstd is for here: the padding. */
const CODEC: Codec = 'zstd-1';

export interface Sealing {
  readonly keys: SealedKeys;
  readonly names: SealedNames;
}

/** `plain`: of the same snapshot. NAME_GONE when an extent that has no name yet cannot be read. */
export async function openSealedContent(
  plain: SessionContent,
  source: RepositoryReader,
  snapshot: Snapshot,
  values: ValueSource,
  sealing: Sealing,
  signal: AbortSignal = new AbortController().signal,
): Promise<SessionContent> {
  const { keys, names } = sealing;
  const extentBytes = sealedBytes(plain.extentBytes);
  const seal = ({ codec, body }: ReadValue): Buffer => sealExtent(keys, { codec, bytes: body }, plain.extentBytes);
  const naming: Naming = { source, values, names, age: names.age(), seal, signal };
  const root = await nameOfNode(naming, mapRoot(snapshot.root, snapshot.rootLocation), MAP_HEIGHT);

  const nameOf = (plainName: Name): Name =>
    plainName === ZEROS ? ZEROS : (names.get(Buffer.from(plainName, 'hex'))?.toString('hex') ?? '');
  /** Each had a name when the content was opened; another session may have forgotten it, or its row has rotted. */
  const named = (plainName: Name): Name => {
    const name = nameOf(plainName);
    if (name !== '') return name;
    // With the nodes above it, which are known: or nothing would ever name it again.
    names.forget([Buffer.from(plainName, 'hex')]);
    throw new HoldfastError('NAME_GONE', 'the name of a sealed extent was forgotten meanwhile', { count: 1, names: [plainName] });
  };
  // A base that was never sent so is none.
  const bases = plain.bases.flatMap((base) => {
    const sealed = nameOf(base.root);
    return sealed === '' ? [] : [{ base, sealed: { snapshot: base.snapshot, root: sealed } }];
  });
  const plainOf = (known: KnownBase): KnownBase | null =>
    bases.find(({ sealed }) => sealed.snapshot === known.snapshot && sealed.root === known.root)?.base ?? null;
  const plainAgainst = (against: Against): Against => {
    if (against.kind !== 'base') return against;
    const base = plainOf(against.base);
    return base === null ? { kind: 'unknown' } : { kind: 'base', base };
  };

  /** The plain name of a value that is due; null: the snapshot does not have it there. */
  const unsealed = async (due: readonly DueValue[]): Promise<Map<Name, DueValue>> => {
    const found = new Map<Name, DueValue>();
    for (const own of Map.groupBy(due, ({ subtree, page }) => `${subtree} ${page}`).values()) {
      const [{ subtree, page } = { subtree: 0, page: 0 }] = own;
      const { rows } = await plain.rows(subtree, page, { kind: 'unknown' }, false);
      const bySealed = new Map(rows.map((row) => [nameOf(row.name), row]));
      for (const value of own) {
        const row = value.at === null ? bySealed.get(value.name) : rows.find(({ child }) => child === (value.at ?? 0) % MAP_FANOUT);
        if (row === undefined || nameOf(row.name) !== value.name)
          throw new HoldfastError('FRAME_INVALID', 'the receiver asks for a name that the snapshot does not have there', { subtree, page });
        found.set(row.name, value);
      }
    }
    return found;
  };

  return {
    ...{ extentBytes, root: root.equals(ABSENT) ? ZEROS : root.toString('hex'), sealedBySender: true, subtrees: plain.subtrees },
    sizeBytes: Math.ceil(plain.sizeBytes / plain.extentBytes) * extentBytes,
    bases: bases.map(({ sealed }) => sealed),
    against(base) {
      if (base === null) return { kind: 'nothing' };
      return plainOf(base) === null ? { kind: 'unknown' } : { kind: 'base', base };
    },
    pages: (subtree, against) => plain.pages(subtree, plainAgainst(against)),
    async rows(subtree, page, against, differs) {
      const { whole, rows } = await plain.rows(subtree, page, plainAgainst(against), differs);
      return { whole, rows: rows.map(({ child, name }) => ({ child, name: named(name) })) };
    },
    async read(due, deliver, inRead) {
      const wanted = await unsealed(due);
      const gone: Name[] = [];
      const lost = await plain.read(
        [...wanted].map(([name, { subtree, page, at }]) => ({ name, subtree, page, at })),
        async (read) => {
          const sealed = read.flatMap((value) => {
            const name = wanted.get(value.name)?.name ?? '';
            const bytes = seal(value);
            value.release?.();
            if (fingerprintOf(bytes).toString('hex') === name) {
              const body = encodeBody(bytes, 'extent', CODEC);
              return [{ name, extent: value.extent, codec: body.codec === 0 ? (0 as const) : (1 as const), body: Buffer.from(body.bytes) }];
            }
            // Stored with another body since it was named: the next session names it anew.
            names.forget([Buffer.from(value.name, 'hex')]);
            gone.push(name);
            return [];
          });
          await deliver(sealed);
        },
        inRead,
        true,
      );
      return [...gone, ...lost.map((name) => wanted.get(name)?.name ?? name)];
    },
  };
}

interface Naming {
  readonly source: RepositoryReader;
  readonly values: ValueSource;
  readonly names: SealedNames;
  /** Of the names, before any was read. */
  readonly age: number;
  seal(value: ReadValue): Buffer;
  readonly signal: AbortSignal;
}

/** The name of a node of the sealed map; what is below it and has no name yet is read and sealed first. */
async function nameOfNode(
  naming: Naming,
  at: { readonly fingerprint: Buffer; readonly location: Buffer | null },
  level: number,
): Promise<Buffer> {
  const { source, names, age, signal } = naming;
  if (isAbsent(at.fingerprint)) return ABSENT;
  const known = names.get(at.fingerprint);
  if (known !== null) return known;
  signal.throwIfAborted();
  const view = await source.readNode(at.fingerprint, at.location, level);
  const children = Buffer.alloc(CHILDREN_BYTES);
  if (level === 1) await nameExtents(naming, view);
  for (let i = 0; i < MAP_FANOUT; i++) {
    const fingerprint = childOf(view.children, i);
    if (isAbsent(fingerprint)) continue;
    const location = view.locations.subarray(i * LOCATION_BYTES, (i + 1) * LOCATION_BYTES);
    const name = level === 1 ? names.get(fingerprint) : await nameOfNode(naming, { fingerprint, location }, level - 1);
    if (name === null) throw new HoldfastError('NAME_GONE', 'the name of a sealed extent was forgotten meanwhile', { count: 1 });
    children.set(name, i * FINGERPRINT_BYTES);
  }
  const name = fingerprintOf(encodeNode(level, children) ?? Buffer.alloc(0));
  names.addNode({ fingerprint: at.fingerprint, name }, age);
  return name;
}

/** Seals the extents of a leaf that have no name yet. */
async function nameExtents({ values, names, seal, signal }: Naming, view: NodeView): Promise<void> {
  const unnamed = new Map<string, number>();
  for (let i = 0; i < MAP_FANOUT; i++) {
    const fingerprint = childOf(view.children, i);
    if (!isAbsent(fingerprint) && names.get(fingerprint) === null) unnamed.set(fingerprint.toString('hex'), i);
  }
  if (unnamed.size === 0) return;
  const gone = await values.read(
    [...unnamed].map(([name, i]) => ({
      fingerprint: Buffer.from(name, 'hex'),
      location: readLocation(view.locations, i * LOCATION_BYTES),
      extents: [i],
    })),
    (read) => {
      names.addExtents(read.map((value) => ({ fingerprint: Buffer.from(value.name, 'hex'), name: fingerprintOf(seal(value)) })));
      return Promise.resolve();
    },
    signal,
    true,
  );
  if (gone.length > 0)
    throw new HoldfastError('NAME_GONE', 'extents of the snapshot can no longer be read', { count: gone.length, names: gone.slice(0, 20) });
}
