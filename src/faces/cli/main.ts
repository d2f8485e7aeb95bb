#!/usr/bin/env node
/** The command `holdfast`: this process's arguments, environment and terminal, and its exit status. */
import { runCli } from './program.ts';
import { processTerminal } from './terminal.ts';

// node:sqlite says at each start that it is experimental; a person who lists snapshots cannot act on that.
const { emitWarning } = process;
process.emitWarning = ((warning: string | Error, ...rest: unknown[]) => {
  const text = typeof warning === 'string' ? warning : warning.message;
  if (!text.startsWith('SQLite is an experimental feature')) Reflect.apply(emitWarning, process, [warning, ...rest]);
}) as typeof process.emitWarning;

// A reader that has seen enough (`| head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

const exitCode = await runCli(process.argv.slice(2), process.env, processTerminal());
// Not process.exitCode alone: a poll or a connection that is still winding down must not hold the shell.
process.stdout.write('', () => process.exit(exitCode));
