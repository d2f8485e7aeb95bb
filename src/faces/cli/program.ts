/**
 * The command line as one tree, and one run of it.
 *
 * Every command has --json and --verbose; --json before or after the command's name is the same. What commander refuses
 * becomes ARGUMENT_INVALID of the table, so there is one form of error and one meaning of each exit status.
 */
import { Argument, Command, CommanderError } from 'commander';
import { HoldfastError } from '../../domain/errors.ts';
import type { Variables } from '../../ground/configuration/configuration.ts';
import { addDoctorCommand } from './commands/doctor.ts';
import { addEventsCommands } from './commands/events.ts';
import { addInstallationCommands } from './commands/installation.ts';
import { addJobCommands } from './commands/job.ts';
import { addJournalCommands } from './commands/journal.ts';
import { addProtectCommands } from './commands/protect.ts';
import { addReceiverCommands } from './commands/receiver.ts';
import { addReconcileCommand } from './commands/reconcile.ts';
import { addReplicaCommands } from './commands/replica.ts';
import { addReplicateCommands } from './commands/replicate.ts';
import { addRescueCommands } from './commands/rescue.ts';
import { addSnapshotCommands } from './commands/snapshot.ts';
import { addStoreCommands } from './commands/store.ts';
import { addTableRestoringCommands } from './commands/table-restore.ts';
import { addTableCommands } from './commands/table.ts';
import { addTransferCommands } from './commands/transfer.ts';
import { addTriggerCommands } from './commands/trigger.ts';
import { addVolumeCommands } from './commands/volume.ts';
import { completionScript, SHELLS, type Shell } from './completion.ts';
import { renderError } from './render-error.ts';
import { createSession, type Session } from './session.ts';
import type { Terminal } from './terminal.ts';
import { readVersion } from './version.ts';

const OVERVIEW = `
A first restore in five commands:
  holdfast up
  holdfast store add local /srv/backup --passphrase file:/etc/holdfast/passphrase
  holdfast volume add db /var/lib/images/db.img --store local
  holdfast snapshot create db
  holdfast restore db /tmp/db.img

Exit status: 0 done, 1 failed, 2 bad input, 3 not found, 4 refused, 5 damaged or wrong key, 6 unreachable, 130 left by Ctrl-C.`;

function addGlobalOptions(command: Command): void {
  command.option('--json', 'one JSON document instead of text; errors, too').option('--verbose', 'the stack of an unexpected error');
  for (const child of command.commands) addGlobalOptions(child);
}

export function createProgram(session: Session, version: string): Command {
  const program = new Command('holdfast')
    .description('Keeps volumes recoverable: snapshots shipped to many object stores at once, every point restorable and provably so.')
    .version(version)
    .showSuggestionAfterError(true)
    .exitOverride()
    .configureOutput({
      writeOut: session.terminal.out,
      writeErr: session.terminal.err,
      // Said once, by renderError.
      outputError: () => undefined,
    })
    .addHelpText('after', OVERVIEW)
    .hook('preAction', (_, action) => {
      const { json, verbose } = action.optsWithGlobals<{ readonly json?: boolean; readonly verbose?: boolean }>();
      Object.assign(session.settings, { json: json === true, verbose: verbose === true });
    });
  addInstallationCommands(program, session);
  addStoreCommands(program, session);
  addVolumeCommands(program, session);
  addSnapshotCommands(program, session);
  addTransferCommands(program, session);
  addTableRestoringCommands(addTableCommands(program, session), session);
  addProtectCommands(program, session);
  addJournalCommands(program, session);
  addReceiverCommands(program, session);
  addReplicaCommands(program, session);
  addReplicateCommands(program, session);
  addEventsCommands(program, session);
  addTriggerCommands(program, session);
  addJobCommands(program, session);
  addRescueCommands(program, session);
  addReconcileCommand(program, session);
  addDoctorCommand(program, session);
  program
    .command('completion')
    .description('print a completion script')
    .helpGroup('This machine:')
    .addArgument(new Argument('<shell>', 'bash, zsh or fish').choices(SHELLS))
    .action((shell: Shell) => session.terminal.out(completionScript(program, shell)));
  addGlobalOptions(program);
  return program;
}

/** Help and version that were asked for are no errors; help that is shown for want of a command is one. */
function exitOfCommander(error: CommanderError): number | HoldfastError {
  if (error.code === 'commander.helpDisplayed' || error.code === 'commander.version') return 0;
  if (error.code === 'commander.help') return error.exitCode === 0 ? 0 : 2;
  return new HoldfastError('ARGUMENT_INVALID', error.message.replace(/^error: /, '').replaceAll('\n', ' '), { field: 'command line' });
}

/** Runs one command line; resolves to the exit status. */
export async function runCli(args: readonly string[], variables: Variables, terminal: Terminal): Promise<number> {
  const given = Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== ''));
  await using session = createSession(given, terminal);
  // Known before anything is parsed, for errors of the parsing itself.
  const beforeRest = args.includes('--') ? args.slice(0, args.indexOf('--')) : args;
  session.settings.json = beforeRest.includes('--json');
  session.settings.verbose = beforeRest.includes('--verbose');
  try {
    await createProgram(session, await readVersion()).parseAsync(args, { from: 'user' });
    return session.exitCode;
  } catch (thrown) {
    const exit = thrown instanceof CommanderError ? exitOfCommander(thrown) : thrown;
    if (typeof exit === 'number') return exit;
    const { text, exitCode } = renderError(exit, session.settings);
    terminal.err(text);
    return exitCode;
  }
}
