/** Where a server of ours listens over TCP: as people write it, and only as open as its credentials allow. */
import { HoldfastError, messageOf } from '../../domain/errors.ts';
import { isLoopback } from '../../ground/http/loopback.ts';
import { readCertificates, type Certificates } from './nbd/certificates.ts';

export interface TcpAddress {
  readonly host: string;
  readonly port: number;
}

/** `HOST:PORT`; a host that holds colons in brackets. `field`: the option or variable that it came from. */
export function parseListen(text: string, field: string): TcpAddress {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:\s]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match && port <= 65_535) return { host: match[1] ?? match[2] ?? '', port };
  throw new HoldfastError('ARGUMENT_INVALID', `${text} is no address to listen at`, { field, expected: 'HOST:PORT' });
}

/** Whoever can reach the address could write to the disks: only those of this host may without a certificate. */
export function checkExposure({ host }: TcpAddress, certificates: Certificates | null, field: string): void {
  if (isLoopback(host) || certificates !== null) return;
  throw new HoldfastError('ARGUMENT_INVALID', `${host} can be reached by others, who would need no credentials`, {
    field,
    expected: 'a loopback address, or certificates for TLS',
  });
}

/** A server's, from a folder. `field`: the option or variable that it came from. */
export const readServerCertificates = (folder: string, field: string): Promise<Certificates> =>
  readCertificates(folder, 'server').catch((error: unknown) => {
    throw new HoldfastError('ARGUMENT_INVALID', `the certificates cannot be read: ${messageOf(error)}`, { field }, error);
  });
