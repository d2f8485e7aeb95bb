/**
 * A past state put somewhere new, in three steps that a crash may fall between: `prepareOutput` sees that it is free, or that this job
 * has filled it; `writeOutput` fills it, so that it is there as a whole or (a topic) is known to be unfinished; `endOutput` tidies up. Each may be called again.
 */
import { randomBytes } from 'node:crypto';
import type { Duck } from '../archive/duck.ts';
import { writeColumnar } from './columnar-file.ts';
import type { Course } from './course.ts';
import { prepareTopic, removeTopic, writeTopic } from './kafka-topic.ts';
import { asideOf, clearAsides, land, prepareLanding } from '../../../ground/stores/landing.ts';
import { preparePostgres, writePostgres } from './postgres-table.ts';
import { writeJsonLines, writeSql } from './row-files.ts';
import { parseSqlTable } from './sql-text.ts';
import type { SettledFile, SettledOutput } from './targets.ts';
import type { TypedRows } from './typed-rows.ts';

/** Whose work it is: the same for all tries of a job, letters, digits and dashes. And where secrets are looked up. */
export interface OutputOwner {
  readonly owner: string;
  readonly variables: Readonly<Record<string, string | undefined>>;
}

/** `landed`: this job has filled it already. `made`: what has to go if the job comes to nothing. TARGET_EXISTS, and as the target. */
export async function prepareOutput(output: SettledOutput, { owner, variables }: OutputOwner): Promise<'free' | 'made' | 'landed'> {
  switch (output.kind) {
    case 'file':
      return prepareLanding(output.path, owner);
    case 'postgres':
      return preparePostgres(output.server, parseSqlTable(output.table), owner, variables);
    case 'topic':
      return (await prepareTopic(output, variables)) === 'made' ? 'made' : 'free';
  }
}

/** Whether a try before has filled it. A topic is filled again: that changes nothing. TARGET_EXISTS, and as the target. */
export const isLanded = async (output: SettledOutput, owner: OutputOwner): Promise<boolean> =>
  output.kind !== 'topic' && (await prepareOutput(output, owner)) === 'landed';

/** Puts the rows there. A file and a table appear as a whole at the end. */
export async function writeOutput(
  duck: Duck,
  rows: TypedRows,
  output: SettledOutput,
  { owner, variables }: OutputOwner,
  course: Course,
): Promise<void> {
  switch (output.kind) {
    case 'postgres':
      return writePostgres(duck, rows, { server: output.server, table: parseSqlTable(output.table), owner, variables }, course);
    case 'topic':
      return writeTopic(duck, rows, output, variables, course);
    case 'file': {
      const aside = asideOf(output.path, owner, randomBytes(4).toString('hex'));
      await writeFile(duck, rows, output, aside, course);
      course.signal?.throwIfAborted();
      await land(output.path, aside);
    }
  }
}

function writeFile(duck: Duck, rows: TypedRows, output: SettledFile, aside: string, course: Course): Promise<void> {
  switch (output.format) {
    case 'parquet':
    case 'csv':
      return writeColumnar(duck, rows, output.format, aside);
    case 'jsonl':
      return writeJsonLines(duck, rows, aside, course);
    case 'sql':
      return writeSql(duck, rows, parseSqlTable(output.table), aside, course);
  }
}

/** After the job, however it ended. `failed`: what it made goes. */
export async function endOutput(output: SettledOutput, { owner, variables }: OutputOwner, failed: 'made' | null): Promise<void> {
  if (output.kind === 'file') await clearAsides(output.path, owner);
  if (output.kind === 'topic' && failed === 'made') await removeTopic(output, variables);
}
