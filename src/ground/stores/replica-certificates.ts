/** Certificates of a replica's client: the authority's, and its own where there is one. A folder, as for disks: `ca-cert.pem`, `client-cert.pem`, `client-key.pem`. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { HoldfastError, messageOf } from '../../domain/errors.ts';
import type { LinkTls } from '../http/wire-agent.ts';
import { hasErrno } from './file-errors.ts';

/** CONFIG_INVALID. */
export async function readReplicaCertificates(folder: string): Promise<LinkTls> {
  const read = (name: string): Promise<Buffer> => readFile(path.join(folder, name));
  try {
    const ca = await read('ca-cert.pem');
    const cert = await read('client-cert.pem').catch((error: unknown) => {
      if (hasErrno(error, 'ENOENT')) return null;
      throw error;
    });
    return { ca, client: cert === null ? null : { cert, key: await read('client-key.pem') } };
  } catch (cause) {
    throw new HoldfastError('CONFIG_INVALID', `the certificates cannot be read: ${messageOf(cause)}`, { field: folder }, cause);
  }
}
