/** A client's certificates where libnbd and its tools look for them, so that one folder serves them all. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { ClientTls } from './client-handshake.ts';
import type { TlsOfUri } from './uri.ts';

export async function readClientCertificates({ host, certificates }: TlsOfUri): Promise<ClientTls> {
  if (certificates === null)
    throw new Error('TLS wants certificates: add ?tls-certificates=FOLDER, of ca-cert.pem, client-cert.pem and client-key.pem');
  const [ca, cert, key] = await Promise.all([
    readFile(path.join(certificates, 'ca-cert.pem')),
    readFile(path.join(certificates, 'client-cert.pem')),
    readFile(path.join(certificates, 'client-key.pem')),
  ]);
  return { ca, cert, key, host };
}
