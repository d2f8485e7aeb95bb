/** A host's disks as the other processes of the host see them: what is served from where, and its server's control socket. */
import { request } from 'node:http';
import { HoldfastError, isErrorCode, messageOf } from '../../../domain/errors.ts';
import { ANSWER_BYTES_MAX, failureBody, type DiskOperations } from './disk-control.ts';
import { isSameFile, type DiskFolder, type DiskRecord } from './disk-record.ts';

export interface Disks extends DiskOperations {
  /** What is served from a file or device, whether its server runs or not; null: nothing. */
  servedFrom(path: string): Promise<DiskRecord | null>;
}

/** A freeze of many disks syncs a little file for each. */
const ANSWER_WITHIN_MS = 60_000;

export function connectDisks(folder: DiskFolder): Disks {
  const call =
    <Name extends keyof DiskOperations>(name: Name) =>
    (...args: Parameters<DiskOperations[Name]>): ReturnType<DiskOperations[Name]> =>
      // Both ends are this build's; what a newer server says more is not looked at.
      ask(folder.controlSocket, name, args) as ReturnType<DiskOperations[Name]>;
  return {
    list: call('list'),
    attach: call('attach'),
    detach: call('detach'),
    freeze: call('freeze'),
    closeView: call('closeView'),
    protect: call('protect'),
    unprotect: call('unprotect'),
    protection: call('protection'),
    beginRecovery: call('beginRecovery'),
    endRecovery: call('endRecovery'),
    handOver: call('handOver'),
    takeUp: call('takeUp'),
    point: call('point'),
    async servedFrom(path) {
      for (const disk of await folder.list()) if (await isSameFile(disk.path, path)) return disk;
      return null;
    },
  };
}

async function ask(socketPath: string, operation: string, args: readonly unknown[]): Promise<unknown> {
  const { status, text } = await post(socketPath, `/${operation}`, JSON.stringify(args)).catch((cause: unknown) => {
    const why = messageOf(cause);
    throw new HoldfastError('DISKS_NOT_SERVED', `no disk server answers at ${socketPath}: ${why}`, { socket: socketPath }, cause);
  });
  const answer: unknown = JSON.parse(text);
  if (status === 200) return answer;
  const { code, message } = failureBody.parse(answer);
  throw new HoldfastError(isErrorCode(code) ? code : 'INTERNAL', message, { socket: socketPath });
}

const post = (socketPath: string, path: string, body: string): Promise<{ readonly status: number; readonly text: string }> =>
  new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const sent = request({ socketPath, path, method: 'POST', headers, agent: false, timeout: ANSWER_WITHIN_MS }, (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > ANSWER_BYTES_MAX) sent.destroy(new Error('the answer is too long'));
        else chunks.push(chunk);
      });
      response.on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
    });
    sent.on('timeout', () => sent.destroy(new Error('no answer in time')));
    sent.on('error', reject);
    sent.end(body);
  });
