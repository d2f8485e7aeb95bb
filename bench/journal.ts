/**
 * The bench of journals, to bench/results/journal.json: a served volume with a journal beside itself without one (journal-local.ts), a pair of stores
 * beside one (journal-pair.ts), and a recovery beside a plain restore (journal-recovery.ts).
 *
 * Local folders, encryption on, page cache warm. What is not of full size is told and not kept.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { benchLocal } from './journal-local.ts';
import { benchPair } from './journal-pair.ts';
import { benchRecovery } from './journal-recovery.ts';

const FULL = { rounds: '3', seconds: '20', 'image-mib': '1024', 'volume-mib': '4096', 'journal-mib': '2048' } as const;

export async function runJournalBench(args: readonly string[]): Promise<void> {
  const size = (name: keyof typeof FULL) => ({ type: 'string', default: FULL[name] }) as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      folder: { type: 'string', default: '/tmp/hf-bench' },
      only: { type: 'string', default: 'local,pair,recovery' },
      ...{ rounds: size('rounds'), seconds: size('seconds'), 'image-mib': size('image-mib') },
      ...{ 'volume-mib': size('volume-mib'), 'journal-mib': size('journal-mib') },
    },
  });
  const only = new Set(values.only.split(','));
  const [rounds, seconds] = [Number(values.rounds), Number(values.seconds)];
  const work = path.join(values.folder, 'journal');
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  const results = {
    machine: { cpu: os.cpus()[0]?.model.trim(), cores: os.cpus().length, node: process.version },
    ...{ rounds, seconds },
    ...(only.has('local')
      ? { local: await benchLocal(path.join(work, 'local'), { rounds, seconds, imageMib: Number(values['image-mib']) }) }
      : {}),
    ...(only.has('pair') ? { pair: await benchPair(path.join(work, 'pair'), { rounds, seconds }) } : {}),
    ...(only.has('recovery')
      ? {
          recovery: await benchRecovery(path.join(work, 'recovery'), {
            rounds,
            volumeMib: Number(values['volume-mib']),
            journalMib: Number(values['journal-mib']),
          }),
        }
      : {}),
  };
  const file = path.join(import.meta.dirname, 'results', 'journal.json');
  // A run of some parts replaces theirs.
  const before = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as object) : {};
  const isFull = (Object.keys(FULL) as (keyof typeof FULL)[]).every((name) => values[name] === FULL[name]);
  if (isFull) writeFileSync(file, `${JSON.stringify({ ...before, ...results }, null, 2)}\n`);
  process.stdout.write(`${JSON.stringify(results, null, 2)}\n`);
  rmSync(work, { recursive: true, force: true });
}
