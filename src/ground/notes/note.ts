/**
 * A note: a small JSON file that a process leaves for the next one. It is there whole or not at all, and what something
 * else wrote in its place is refused with the name of the file.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { HoldfastError } from '../../domain/errors.ts';
import { hasErrno } from '../stores/file-errors.ts';

/** Null: there is none. RECORD_INVALID with `advice` when it is not what was written. */
export async function readNote<Schema extends z.ZodType>(file: string, schema: Schema, advice: string): Promise<z.output<Schema> | null> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return null;
    throw error;
  });
  if (text === null) return null;
  const parsed = schema.safeParse(parsedOrNull(text));
  if (parsed.success) return parsed.data;
  throw new HoldfastError('RECORD_INVALID', `${file} is not what was written there; ${advice}`, {
    file,
    expected: z.prettifyError(parsed.error),
  });
}

function parsedOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON: the schema refuses it.
    return null;
  }
}

/** Readable by its owner only; survives power loss once this has resolved. */
export async function writeNote(file: string, value: unknown): Promise<void> {
  const folder = path.dirname(file);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const aside = `${file}.${randomBytes(6).toString('hex')}`;
  await writeFile(aside, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600, flush: true });
  await rename(aside, file);
  await using opened = await open(folder, 'r');
  await opened.sync();
}
