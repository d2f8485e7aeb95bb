/**
 * A frozen view read beside its server: from the files themselves, by a process of the same host.
 *
 * The server has one thread, and it is there for those who write to its disks; so who captures reads the volume by itself and only asks the
 * server what was kept:
 *
 *     read the volume's file ──▶ ask what of that range the view has kept ──▶ read that part again, where it is kept
 *
 * The server keeps what a write will change before the write is made, and says so from that turn on. So bytes that are not kept when they have been
 * read are the view's. What is kept stays as it is while the view stands; asking fails when it does not, so it is asked again behind that.
 */
import { open, stat, type FileHandle } from 'node:fs/promises';
import { connectNbd, type NbdClient } from './nbd/client.ts';
import type { NbdUri } from './nbd/uri.ts';

/** Where a view's bytes are on its host. */
export interface ViewFiles {
  readonly volume: string;
  /** What the volume's file is known by: another one under its path is another volume. */
  readonly identity: string;
  /** What the view has kept, each byte at its place. */
  readonly copies: string;
}

/** Enough to ask whether a view stands. */
const BLOCK_BYTES = 4096;

/** What of a range has been kept: flag 1. */
export const KEPT_CONTEXT = 'holdfast:kept';

/** What a volume's file is known by, whatever is written to it. */
export async function identityOf(file: string): Promise<string> {
  const { ino, birthtimeNs } = await stat(file, { bigint: true });
  return `${ino}-${birthtimeNs}`;
}

export class ViewBeside implements AsyncDisposable {
  readonly #client: NbdClient;
  readonly #volume: FileHandle;
  readonly #copies: FileHandle;

  private constructor(client: NbdClient, volume: FileHandle, copies: FileHandle) {
    this.#client = client;
    this.#volume = volume;
    this.#copies = copies;
  }

  /** Null: not from here; the server still gives it. The connection is its own, for a status is asked of all contexts of one. */
  static async open({ at, export: name }: NbdUri, files: ViewFiles): Promise<ViewBeside | null> {
    await using opening = new AsyncDisposableStack();
    try {
      const volume = opening.use(await open(files.volume, 'r'));
      const copies = opening.use(await open(files.copies, 'r'));
      const client = opening.use(await connectNbd({ at, export: name, tls: null }, { contexts: [KEPT_CONTEXT] }));
      if (!client.contexts.includes(KEPT_CONTEXT) || (await identityOf(files.volume)) !== files.identity) return null;
      opening.move();
      return new ViewBeside(client, volume, copies);
    } catch {
      // Another user's files, another name space of files: whoever has opened the view's export reads that.
      return null;
    }
  }

  async read(into: Buffer, offset: number): Promise<void> {
    await readWhole(this.#volume, into, offset);
    const end = offset + into.length;
    let isKept = false;
    for (let at = offset; at < end;)
      for (const { length, flags } of await this.#client.status(KEPT_CONTEXT, at, end - at)) {
        const until = Math.min(end, at + length);
        if (flags !== 0) await readWhole(this.#copies, into.subarray(at - offset, until - offset), at);
        isKept ||= flags !== 0;
        at = until;
      }
    if (isKept) await this.#client.status(KEPT_CONTEXT, offset, Math.min(into.length, BLOCK_BYTES));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await using closing = new AsyncDisposableStack();
    closing.use(this.#volume);
    closing.use(this.#copies);
    closing.use(this.#client);
  }
}

async function readWhole(file: FileHandle, into: Buffer, offset: number): Promise<void> {
  for (let done = 0; done < into.length;) {
    const { bytesRead } = await file.read(into, done, into.length - done, offset + done);
    if (bytesRead === 0) throw new Error('a file of the volume has become shorter');
    done += bytesRead;
  }
}
