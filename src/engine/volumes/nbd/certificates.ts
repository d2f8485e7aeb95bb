/** Certificates where libnbd, QEMU and nbdkit look for them, so that one folder serves them all. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { ClientTls } from './client-handshake.ts';
import type { TlsOfUri } from './uri.ts';

/** PEM, each: of this side, and of the authority whose certificates it takes from the other. */
export interface Certificates {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** `ca-cert.pem`, `<side>-cert.pem` and `<side>-key.pem`: one after the other, so that it is always the first missing one that is named. */
export async function readCertificates(folder: string, side: 'server' | 'client'): Promise<Certificates> {
  const ca = await readFile(path.join(folder, 'ca-cert.pem'));
  const cert = await readFile(path.join(folder, `${side}-cert.pem`));
  const key = await readFile(path.join(folder, `${side}-key.pem`));
  return { ca, cert, key };
}

export async function readClientCertificates({ host, certificates }: TlsOfUri): Promise<ClientTls> {
  if (certificates === null)
    throw new Error('TLS wants certificates: add ?tls-certificates=FOLDER, of ca-cert.pem, client-cert.pem and client-key.pem');
  return { ...(await readCertificates(certificates, 'client')), host };
}
