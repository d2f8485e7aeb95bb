/** A file, served on a Unix socket of its own, for clients of all kinds. */
import { mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openFileExport } from '../../../../src/engine/volumes/file-export.ts';
import { serveNbd, type NbdServer, type NbdServerEvent, type NbdServerOptions } from '../../../../src/engine/volumes/nbd/server.ts';

export interface ServedFile extends AsyncDisposable {
  readonly folder: string;
  readonly file: string;
  readonly socket: string;
  /** For clients that take one; '' is the default export. */
  uri(name?: string): string;
  readonly events: readonly NbdServerEvent[];
  readonly server: NbdServer;
}

export async function serveFile(
  sizeBytes: number,
  options: Partial<NbdServerOptions> & { readonly readOnly?: boolean } = {},
): Promise<ServedFile> {
  const folder = mkdtempSync(path.join(tmpdir(), 'hf-nbd-'));
  const file = path.join(folder, 'disk.img');
  const socket = path.join(folder, 's');
  writeFileSync(file, '');
  truncateSync(file, sizeBytes);
  const events: NbdServerEvent[] = [];
  const served = await openFileExport(file, {
    ...{ name: 'disk', description: 'a disk for tests', sizeBytes: statSync(file).size },
    readOnly: options.readOnly ?? false,
  });
  const server = await serveNbd({ path: socket }, { exports: () => [served], onEvent: (event) => events.push(event), ...options });
  return {
    ...{ folder, file, socket, events, server },
    uri: (name = 'disk') => `nbd+unix:///${name}?socket=${socket}`,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await served[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
