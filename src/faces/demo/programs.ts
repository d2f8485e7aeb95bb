/**
 * Programs that the demo runs: other people's (mke2fs, e2fsck, cmp, temporal), which are the proof that a sceptic can repeat,
 * and the command `holdfast` itself, as a person would type it. Each run is remembered with its exit status and printed at the
 * end. All end when the demo is interrupted.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { HoldfastError, isErrorCode } from '../../domain/errors.ts';
import { findOnPath } from '../stack/component.ts';

export interface Ran {
  readonly line: string;
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What is printed at the end: a command, and what came of it. */
export interface Evidence {
  readonly line: string;
  readonly said: string;
}

type Variables = Readonly<Record<string, string | undefined>>;

export interface Programs {
  readonly evidence: readonly Evidence[];
  /** Path of a program, or null. */
  find(program: string): Promise<string | null>;
  run(program: string, args: readonly string[], options?: { readonly env?: Variables; readonly input?: string }): Promise<Ran>;
  /** A command of ours; the exit status is the caller's to judge. */
  holdfast(args: readonly string[], env: Variables): Promise<Ran>;
  /** A command of ours that has to succeed, and its JSON. */
  holdfastJson<Schema extends z.ZodType>(schema: Schema, args: readonly string[], env: Variables): Promise<z.output<Schema>>;
  /** A command of ours that serves until it is ended: what it said first. */
  holdfastServing<Schema extends z.ZodType>(
    schema: Schema,
    args: readonly string[],
    env: Variables,
  ): Promise<{ readonly answer: z.output<Schema>; end(): Promise<void> }>;
  /** Remembers a run for the end. */
  remember(ran: Pick<Ran, 'line'>, said: string): void;
}

/** Where file system tools are that an ordinary user's PATH leaves out. */
const SYSTEM_FOLDERS = ['/usr/sbin', '/sbin', '/usr/local/sbin', '/opt/homebrew/opt/e2fsprogs/sbin', '/usr/local/opt/e2fsprogs/sbin'];

const CLI = fileURLToPath(new URL(`../cli/main${path.extname(import.meta.url)}`, import.meta.url));

const quoted = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`);

const failure = z.looseObject({ error: z.looseObject({ code: z.string(), message: z.string() }) });

/** What a command of ours says when it fails: its last line is JSON. */
function failureOf({ line, status, stderr }: Ran): HoldfastError {
  const last = stderr.trim().split('\n').at(-1) ?? '';
  const parsed = last.startsWith('{') ? failure.safeParse(JSON.parse(last)) : null;
  const { code, message } = parsed?.success === true ? parsed.data.error : { code: 'INTERNAL', message: stderr.trim().slice(-800) };
  return new HoldfastError(isErrorCode(code) ? code : 'INTERNAL', `${line} ended with ${status}: ${message}`);
}

export function createPrograms(searchPath: string, signal: AbortSignal): Programs {
  const evidence: Evidence[] = [];
  const places = [searchPath, ...SYSTEM_FOLDERS].join(path.delimiter);

  const execute = async (command: string, args: readonly string[], line: string, env: Variables, input = ''): Promise<Ran> => {
    const child = spawn(command, args, { env, stdio: ['pipe', 'pipe', 'pipe'], signal, killSignal: 'SIGKILL' });
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    const outputs = Promise.all([text(child.stdout), text(child.stderr)]);
    // The exit is what counts; a pipe that breaks with it is no second error.
    outputs.catch(() => undefined);
    const [status] = (await once(child, 'close')) as [number | null];
    const [stdout, stderr] = await outputs;
    return { line, status: status ?? 128, stdout, stderr };
  };

  const find = (program: string): Promise<string | null> =>
    path.isAbsolute(program) ? Promise.resolve(program) : findOnPath(program, places);

  const holdfast: Programs['holdfast'] = (args, env) =>
    execute(process.execPath, [CLI, ...args], ['holdfast', ...args.map(quoted)].join(' '), env);

  return {
    evidence,
    find,
    async run(program, args, { env = process.env, input } = {}) {
      const command = await find(program);
      const line = [path.basename(program), ...args.map(quoted)].join(' ');
      if (command === null) throw new HoldfastError('COMPONENT_UNAVAILABLE', `${program} is not there`, { program });
      return execute(command, args, line, env, input);
    },
    holdfast,
    async holdfastJson(schema, args, env) {
      const ran = await holdfast([...args, '--json'], env);
      if (ran.status !== 0) throw failureOf(ran);
      const parsed = schema.safeParse(JSON.parse(ran.stdout));
      if (parsed.success) return parsed.data;
      throw new HoldfastError('INTERNAL', `${ran.line} printed something else than was expected: ${parsed.error.message}`);
    },
    async holdfastServing(schema, args, env) {
      const line = ['holdfast', ...args.map(quoted)].join(' ');
      const child = spawn(process.execPath, [CLI, ...args, '--json'], {
        env,
        stdio: ['ignore', 'pipe', 'pipe'],
        signal,
        killSignal: 'SIGKILL',
      });
      child.on('error', () => undefined);
      const closed = once(child, 'close');
      const complaint = text(child.stderr);
      const lines = createInterface({ input: child.stdout });
      const first: unknown = await Promise.race([once(lines, 'line'), closed.then(() => null)]);
      if (first === null) throw failureOf({ line, status: child.exitCode ?? 128, stdout: '', stderr: await complaint });
      evidence.push({ line, said: 'serves it until it is ended' });
      return {
        answer: schema.parse(JSON.parse(String((first as readonly unknown[])[0]))),
        async end() {
          child.kill('SIGTERM');
          await closed;
        },
      };
    },
    remember: ({ line }, said) => void evidence.push({ line, said }),
  };
}
