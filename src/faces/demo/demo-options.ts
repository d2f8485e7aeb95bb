/** The options of `npm run demo`, parsed and checked before anything is made. */
import { stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError } from 'commander';
import { HoldfastError } from '../../domain/errors.ts';
import { parseInteger } from '../cli/quantities.ts';

export interface DemoOptions {
  /** A file of one's own, read and never written; null: an ext4 image is built. */
  readonly volume: string | null;
  /** Whose files fill the image. */
  readonly files: string;
  /** Where the temporary folder is made. */
  readonly within: string;
  readonly jsonFile: string | null;
  readonly keep: boolean;
  readonly ui: boolean;
  readonly seed: number;
}

interface Parsed {
  readonly volume?: string;
  readonly files: string;
  readonly within: string;
  readonly json?: string;
  readonly keep?: boolean;
  readonly ui?: boolean;
  readonly seed: number;
}

/** The packages that `npm ci` has brought: real files, and there wherever the demo can run. */
const FILES_DEFAULT = fileURLToPath(new URL('../../../node_modules', import.meta.url));

const EXAMPLES = `
Nothing outside its temporary folder is written (and the cache of provisioned servers, ~/.cache/holdfast).

Examples:
  npm run demo
  npm run demo -- --volume /var/lib/images/db.img --json demo.json
  npm run demo -- --keep --ui        then look at everything until Ctrl-C`;

const absolute = (text: string): string => path.resolve(text);

export async function readDemoOptions(args: readonly string[]): Promise<DemoOptions> {
  const program = new Command('demo')
    .description('What Holdfast does, on real files and real servers: every step runs, is checked, and shows its figures.')
    .option('--volume <file>', 'do it to this file, which is only read, instead of an image that is built', absolute)
    .option('--files <dir>', 'whose files fill the image that is built', absolute, FILES_DEFAULT)
    .option('--within <dir>', 'where the temporary folder is made', absolute, tmpdir())
    .option('--json <file>', 'write { ok, steps: [{ name, ok, seconds, figures }] } there', absolute)
    .option('--keep', 'leave the folder for those who want to look, with a file that sets the environment')
    .option('--ui', "serve Temporal's UI until Ctrl-C")
    .option('--seed <n>', 'of the changes', parseInteger('--seed'), 1)
    .addHelpText('after', EXAMPLES)
    .exitOverride()
    // Said once, by whoever renders the error.
    .configureOutput({ outputError: () => undefined });
  const parsed = parse(program, args);
  if (parsed.volume !== undefined) await requireFile(parsed.volume);
  return {
    volume: parsed.volume ?? null,
    files: parsed.files,
    within: parsed.within,
    jsonFile: parsed.json ?? null,
    keep: parsed.keep === true,
    ui: parsed.ui === true,
    seed: parsed.seed,
  };
}

/** What commander refuses, as an error of the table; --help stays what it is. */
function parse(program: Command, args: readonly string[]): Parsed {
  try {
    return program.parse([...args], { from: 'user' }).opts<Parsed>();
  } catch (error) {
    if (!(error instanceof CommanderError) || error.exitCode === 0) throw error;
    throw new HoldfastError('ARGUMENT_INVALID', error.message.replace(/^error: /, ''), { field: 'options', expected: 'see --help' });
  }
}

async function requireFile(file: string): Promise<void> {
  const stats = await stat(file).catch((cause: unknown) => {
    throw new HoldfastError('SOURCE_UNREADABLE', `${file} cannot be read`, { path: file }, cause);
  });
  if (!stats.isFile() || stats.size === 0)
    throw new HoldfastError('ARGUMENT_INVALID', `${file} is no file with something in it`, {
      field: '--volume',
      expected: 'an image file',
    });
}
