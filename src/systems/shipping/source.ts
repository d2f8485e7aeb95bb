/**
 * A capture's source, by the path that the catalog has of the volume: a file, a block device, or an NBD export.
 *
 * An export that is read-only is taken for a moment of its volume (a frozen view, a backup export of QEMU): 'crash'. One that
 * may be written has no moment: 'fuzzy', which wants consent.
 */
import { HoldfastError, messageOf } from '../../domain/errors.ts';
import type { SnapshotId } from '../../domain/ids.ts';
import { SUBTREE_EXTENTS } from '../../domain/limits.ts';
import type { DataRange } from '../../ground/libc/libc.ts';
import type { SourceView } from '../../engine/transfer/contract.ts';
import { openFileSource, type Consistency } from '../../engine/transfer/file-source.ts';
import { connectNbd, type NbdClient } from '../../engine/volumes/nbd/client.ts';
import { readClientCertificates } from '../../engine/volumes/nbd/certificates.ts';
import { parseNbdUri, type NbdUri } from '../../engine/volumes/nbd/uri.ts';
import { ViewBeside, type ViewFiles } from '../../engine/volumes/view-beside.ts';
import { markedRanges, nbdSource, type Stretch } from '../../engine/volumes/nbd-source.ts';

export interface VolumeSource extends SourceView, AsyncDisposable {
  /** Equal stamps: as far as can be told, nothing changed in between. */
  readonly stamp: string;
  consistency(): Promise<Consistency>;
  /** What the source itself says has changed since a snapshot, within the stretch it was opened for; null: it does not say. */
  changedSince(snapshot: SnapshotId, bitmap: string | null): Promise<readonly DataRange[] | null>;
}

export interface SourceRequest {
  readonly path: string;
  /** Of a view of this host: read beside its server. */
  readonly files: ViewFiles | null;
  readonly extentBytes: number;
  /** Null: to learn what it is, and read nothing. */
  readonly subtree: number | null;
  /** Snapshots that it may know what has changed since. */
  readonly bases: readonly SnapshotId[];
  /** A dirty bitmap of QEMU, by its name. */
  readonly bitmap: string | null;
}

const changedContext = (snapshot: SnapshotId): string => `holdfast:changed:${snapshot}`;
const bitmapContext = (name: string): string => `qemu:dirty-bitmap:${name}`;

export async function openSource(request: SourceRequest): Promise<VolumeSource> {
  const uri = parseNbdUri(request.path);
  if (uri === null) return Object.assign(await openFileSource(request.path), { changedSince: () => Promise.resolve(null) });
  const { extentBytes, subtree, bases, bitmap } = request;
  const contexts = ['base:allocation', ...bases.map(changedContext), ...(bitmap === null ? [] : [bitmapContext(bitmap)])];
  const client = await connectTo(uri, contexts).catch((cause: unknown) => {
    const why = messageOf(cause);
    throw new HoldfastError('SOURCE_UNREADABLE', `${request.path} cannot be read: ${why}`, { path: request.path }, cause);
  });
  await using opening = new AsyncDisposableStack();
  opening.use(client);
  const beside = subtree === null || request.files === null ? null : await ViewBeside.open(uri, request.files);
  if (beside !== null) opening.use(beside);
  const bytes = SUBTREE_EXTENTS * extentBytes;
  const stretch = subtree === null ? { offset: 0, length: 0 } : { offset: subtree * bytes, length: bytes };
  const view = await nbdSource(client, extentBytes, stretch, beside ?? client);
  return overNbd({ client, view, stretch, path: request.path, opened: opening.move() });
}

/** Certificates are read on the node that captures, each time: they are renewed while it runs. */
async function connectTo({ at, export: name, tls }: NbdUri, contexts: readonly string[]): Promise<NbdClient> {
  return connectNbd({ at, export: name, tls: tls === null ? null : await readClientCertificates(tls) }, { contexts });
}

interface OverNbd {
  readonly client: NbdClient;
  readonly view: SourceView;
  readonly stretch: Stretch;
  readonly path: string;
  readonly opened: AsyncDisposable;
}

function overNbd({ client, view, stretch, path, opened }: OverNbd): VolumeSource {
  return Object.assign(view, {
    stamp: `nbd ${path} ${client.sizeBytes}`,
    consistency: (): Promise<Consistency> => Promise.resolve(client.readOnly ? 'crash' : 'fuzzy'),
    changedSince: (snapshot: SnapshotId, bitmap: string | null) =>
      markedRanges(client, bitmap === null ? changedContext(snapshot) : bitmapContext(bitmap), stretch),
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  });
}
