/**
 * A passphrase by reference: `env:NAME`, `file:/path` or `command:...`. The reference is what is stored, logged and shown;
 * the passphrase itself is looked up where it is used and is in no record, history, error or command line.
 */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { HoldfastError } from '../../domain/errors.ts';

const run = promisify(execFile);
const REFERENCE = /^(env|file|command):(.+)$/s;

export function checkPassphraseReference(reference: string): string {
  if (!REFERENCE.test(reference))
    throw new HoldfastError('ARGUMENT_INVALID', 'a passphrase is given by reference', {
      field: 'passphrase',
      expected: 'env:NAME, file:/path or command:...',
    });
  return reference;
}

export async function resolvePassphrase(reference: string, environment: Readonly<Record<string, string | undefined>>): Promise<string> {
  const [, kind, rest = ''] = REFERENCE.exec(checkPassphraseReference(reference)) ?? [];
  const missing = (cause?: unknown): HoldfastError =>
    new HoldfastError(
      'PASSPHRASE_MISSING',
      `${kind === 'command' ? 'the passphrase command' : reference} yields no passphrase`,
      { kind: kind ?? '' },
      cause,
    );
  let found: string | undefined;
  try {
    if (kind === 'env') found = environment[rest];
    else if (kind === 'file') found = await readFile(rest, 'utf8');
    else found = (await run('/bin/sh', ['-c', rest], { timeout: 30_000, maxBuffer: 64 * 1024 })).stdout;
  } catch {
    // The cause may quote what the command printed, so it is left out.
    throw missing();
  }
  const passphrase = found?.replace(/\r?\n$/, '') ?? '';
  if (passphrase.length === 0) throw missing();
  return passphrase;
}
