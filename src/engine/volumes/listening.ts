/** Where a server of ours listens over TCP: as people write it, and only as open as its credentials allow. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { HoldfastError } from '../../domain/errors.ts';

export interface TcpAddress {
  readonly host: string;
  readonly port: number;
}

/** PEM, each: of this side, and of the authority whose certificates it takes from the other. */
export interface Certificates {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1)$/;

/** `HOST:PORT`; a host that holds colons in brackets. `field`: the option or variable that it came from. */
export function parseListen(text: string, field: string): TcpAddress {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:\s]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match && port <= 65_535) return { host: match[1] ?? match[2] ?? '', port };
  throw new HoldfastError('ARGUMENT_INVALID', `${text} is no address to listen at`, { field, expected: 'HOST:PORT' });
}

/** Whoever can reach the address could write to the disks: only those of this host may without a certificate. */
export function checkExposure({ host }: TcpAddress, certificates: Certificates | null, field: string): void {
  if (LOOPBACK.test(host) || certificates !== null) return;
  throw new HoldfastError('ARGUMENT_INVALID', `${host} can be reached by others, who would need no credentials`, {
    field,
    expected: 'a loopback address, or certificates for TLS',
  });
}

/** `ca-cert.pem`, and `<side>-cert.pem` and `<side>-key.pem` of this side: the names that QEMU and nbdkit know. */
export async function readCertificates(folder: string, side: 'server' | 'client', field: string): Promise<Certificates> {
  const read = (name: string): Promise<Buffer> =>
    readFile(path.join(folder, name)).catch((error: unknown) => {
      throw new HoldfastError('ARGUMENT_INVALID', `${path.join(folder, name)} cannot be read`, { field }, error);
    });
  const [ca, cert, key] = await Promise.all([read('ca-cert.pem'), read(`${side}-cert.pem`), read(`${side}-key.pem`)]);
  return { ca, cert, key };
}
