/** A file of lines, written in pieces of a MiB: rows as JSON, statements of SQL, differences. */
import { open, type FileHandle } from 'node:fs/promises';
import { MIB } from '../../../domain/limits.ts';
import { unwritable } from '../../../ground/stores/landing.ts';

export interface LineFile extends AsyncDisposable {
  write(line: string): Promise<void>;
  /** Everything is in the file. */
  end(): Promise<void>;
}

export async function openLineFile(path: string): Promise<LineFile> {
  const fail = (error: unknown): never => {
    throw unwritable(path, error);
  };
  const file: FileHandle = await open(path, 'w', 0o600).catch(fail);
  let held: string[] = [];
  let length = 0;
  const flush = async (): Promise<void> => {
    const text = held.join('');
    held = [];
    length = 0;
    await file.writeFile(text).catch(fail);
  };
  return {
    async write(line) {
      held.push(line, '\n');
      length += line.length + 1;
      if (length >= MIB) await flush();
    },
    end: flush,
    [Symbol.asyncDispose]: () => file.close(),
  };
}
