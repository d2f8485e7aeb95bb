/** An authority, a server of it for localhost, and a client of it, made by openssl, under the names that libnbd looks for. */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';

const openssl = (folder: string, ...args: readonly string[]) => promisify(execFile)('openssl', args, { cwd: folder });
const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

export async function createCertificates(folder: string): Promise<void> {
  await openssl(
    folder,
    ...['req', '-x509', ...KEY, '-keyout', 'ca-key.pem', '-out', 'ca-cert.pem', '-days', '2', '-subj', '/CN=test authority'],
  );
  writeFileSync(path.join(folder, 'names'), 'subjectAltName=DNS:localhost\n');
  for (const who of ['server', 'client']) {
    await openssl(folder, 'req', ...KEY, '-keyout', `${who}-key.pem`, '-out', `${who}.csr`, '-subj', `/CN=${who}`);
    await openssl(
      folder,
      ...['x509', '-req', '-in', `${who}.csr`, '-CA', 'ca-cert.pem', '-CAkey', 'ca-key.pem', '-CAcreateserial'],
      ...['-out', `${who}-cert.pem`, '-days', '2', '-extfile', 'names'],
    );
  }
}
