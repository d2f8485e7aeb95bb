/** `holdfast replica`: a small process near the writers, in front of one store (docs/replica.md): its process, its tokens, what waits in it, its end. */
import path from 'node:path';
import type { Command } from 'commander';
import { HoldfastError } from '../../../domain/errors.ts';
import { parseListen } from '../../../engine/volumes/listening.ts';
import type { Variables } from '../../../ground/configuration/configuration.ts';
import type { ReplicaFolder } from '../../../systems/regions/replica/folder.ts';
import type { ReplicaToken } from '../../../systems/regions/replica/tokens.ts';
import { storeUrl, variableName } from '../arguments.ts';
import { formatBytes, formatDuration, formatTime, parseBytes, parseDuration, parseMoment } from '../quantities.ts';
import type { Session } from '../session.ts';
import { renderFields, renderTable } from '../table.ts';

interface StandingOptions {
  readonly folder?: string;
  readonly store: string;
  readonly endpoint?: string;
  readonly region?: string;
  readonly accessKeyEnv?: string;
  readonly secretKeyEnv?: string;
  readonly takeOver?: boolean;
  readonly otherIsGone?: boolean;
  readonly trust?: number;
}

interface ServeOptions extends StandingOptions {
  readonly listen?: string;
  readonly certificates?: string;
  readonly clients?: string;
  readonly waitingBytes?: number;
  readonly waitingObjects?: string;
  readonly metricsPort?: string;
}

const absolute = (folder: string | undefined): string | undefined => (folder === undefined ? undefined : path.resolve(folder));

function takeOverOf({ takeOver, otherIsGone }: StandingOptions): string {
  if (otherIsGone !== true) return takeOver === true ? 'waiting' : 'no';
  if (takeOver === true) return 'at once';
  throw new HoldfastError('ARGUMENT_INVALID', '--other-is-gone says how to take over', {
    field: '--other-is-gone',
    expected: '--take-over with it',
  });
}

const standingVariables = (options: StandingOptions): Variables => ({
  HOLDFAST_REPLICA_FOLDER: absolute(options.folder),
  HOLDFAST_REPLICA_STORE: options.store,
  HOLDFAST_REPLICA_ENDPOINT: options.endpoint,
  HOLDFAST_REPLICA_REGION: options.region,
  HOLDFAST_REPLICA_ACCESS_KEY_ENV: options.accessKeyEnv,
  HOLDFAST_REPLICA_SECRET_KEY_ENV: options.secretKeyEnv,
  HOLDFAST_REPLICA_TAKE_OVER: takeOverOf(options),
  HOLDFAST_REPLICA_TRUST_MS: options.trust === undefined ? undefined : String(options.trust),
});

async function serve(session: Session, options: ServeOptions): Promise<void> {
  const { runWorker } = await import('../run-worker.ts');
  await runWorker(session, 'replica', {
    ...standingVariables(options),
    HOLDFAST_REPLICA_LISTEN: options.listen,
    HOLDFAST_REPLICA_CERTIFICATES: absolute(options.certificates),
    HOLDFAST_REPLICA_CLIENTS: options.clients,
    HOLDFAST_REPLICA_WAITING_BYTES: options.waitingBytes === undefined ? undefined : String(options.waitingBytes),
    HOLDFAST_REPLICA_WAITING_OBJECTS: options.waitingObjects,
    HOLDFAST_METRICS_PORT: options.metricsPort,
  });
}

/** Moves what waits, without listening, and gives the store back. */
async function release(session: Session, options: StandingOptions): Promise<void> {
  const [{ Replica }, { openBehind }, { readReplicaConfiguration }] = await Promise.all([
    import('../../../systems/regions/replica/replica.ts'),
    import('../../../systems/regions/replica/behind.ts'),
    import('../../../systems/regions/replica/configuration.ts'),
  ]);
  const installation = await session.configuration();
  const variables = { ...session.variables, ...defined(standingVariables(options)) };
  const configuration = readReplicaConfiguration(variables, installation);
  const { folder, takeOver, limits } = configuration;
  await using store = await openBehind(configuration, variables);
  await using replica = await Replica.open({
    ...{ folder, store, host: installation.host, takeOver, limits },
    onWait: (ms) => session.say(`another replica may answer for ${formatDuration(ms)} still: waiting for that`),
  });
  const { waiting } = replica.status();
  if (waiting.entries > 0) session.say(`moving what waits: ${waiting.entries} entries, ${formatBytes(waiting.bytes)}`);
  await replica.release();
  const { url } = store.describe();
  session.print(
    { released: url, moved: replica.status().moved },
    () => `${url} is released: it has everything, and can be opened directly\n`,
  );
}

const defined = (variables: Variables): Variables =>
  Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== undefined));

async function folderOf(session: Session, named: string | undefined): Promise<ReplicaFolder> {
  const [{ replicaFolderOf }, { defaultFolder }] = await Promise.all([
    import('../../../systems/regions/replica/folder.ts'),
    import('../../../systems/regions/replica/configuration.ts'),
  ]);
  return replicaFolderOf(named ?? defaultFolder(await session.configuration()));
}

async function status(session: Session, options: { readonly folder?: string }): Promise<void> {
  const [{ askReplica }, folder] = await Promise.all([
    import('../../../systems/regions/replica/asking.ts'),
    folderOf(session, options.folder),
  ]);
  const now = await askReplica(folder);
  session.print(now, () =>
    renderFields([
      ['address', now.url],
      ['store behind', now.store],
      ['state', now.state],
      ['epoch', String(now.epoch)],
      ['trusted for', formatDuration(now.trustedForMs)],
      ['waiting', `${now.waiting.entries} entries, ${formatBytes(now.waiting.bytes)}`],
      ['oldest', now.waiting.entries === 0 ? null : formatDuration(now.waiting.oldestMs)],
      [
        'back-pressure',
        now.pressure.puts === 0 ? null : `${now.pressure.puts} puts wait, the first for ${formatDuration(now.pressure.ms)}`,
      ],
      ['moved', `${now.moved.entries} entries, ${formatBytes(now.moved.bytes)}; ${formatBytes(Math.round(now.bytesPerSecond))}/s`],
      ['under way', String(now.underWay)],
      ['errors', now.errors === 0 ? null : `${now.errors}${now.lastError === null ? '' : `; now: ${now.lastError}`}`],
      ['connections', String(now.connections)],
    ]),
  );
}

interface TokenOptions {
  readonly folder?: string;
  readonly until?: number;
}

async function addToken(session: Session, { folder, until }: TokenOptions): Promise<void> {
  const [{ addToken: add }, { tokens }] = await Promise.all([
    import('../../../systems/regions/replica/tokens.ts'),
    folderOf(session, folder),
  ]);
  const { token, id } = await add(tokens, { untilMs: until ?? null, certificate: null });
  session.print({ token, id }, () => `${token}\n`);
  session.say('shown this once: nothing here keeps it. From now on the replica wants a token of everybody');
}

async function listTokens(session: Session, { folder }: TokenOptions): Promise<void> {
  const [{ readTokens }, { tokens }] = await Promise.all([import('../../../systems/regions/replica/tokens.ts'), folderOf(session, folder)]);
  const rows = (await readTokens(tokens)).map(({ digest: _digest, ...rest }) => rest);
  session.print(rows, () =>
    renderTable(TOKEN_COLUMNS, rows, 'no tokens: on a loopback address nobody needs one, anywhere else nobody is let in'),
  );
}

const TOKEN_COLUMNS: Parameters<typeof renderTable<Omit<ReplicaToken, 'digest'>>>[0] = [
  { title: 'TOKEN', cell: ({ id }) => id },
  { title: 'UNTIL', cell: ({ untilMs }) => (untilMs === null ? '' : formatTime(untilMs)) },
];

async function removeToken(session: Session, id: string, { folder }: TokenOptions): Promise<void> {
  const [{ removeToken: remove }, { tokens }] = await Promise.all([
    import('../../../systems/regions/replica/tokens.ts'),
    folderOf(session, folder),
  ]);
  const removed = await remove(tokens, id);
  session.print({ removed: removed ? id : null }, () => (removed ? `token ${id} is withdrawn\n` : `there is no token ${id}\n`));
}

const listenAddress = (text: string): string => {
  parseListen(text, '--listen');
  return text;
};

const FOLDER = ['--folder <dir>', 'of the replica (default: replica, in the folder of the installation)'] as const;

function standing(command: Command): Command {
  return command
    .option(...FOLDER)
    .requiredOption('-s, --store <url>', 'the store behind: file:///dir, /dir, or s3://bucket/prefix', storeUrl)
    .option('--endpoint <url>', 'of an S3 server that is not Amazon')
    .option('--region <name>', 'of the bucket')
    .option('--access-key-env <name>', 'variable that holds the access key id', variableName('--access-key-env'))
    .option('--secret-key-env <name>', 'variable that holds the secret access key', variableName('--secret-key-env'))
    .option('--trust <duration>', 'it answers for so long while the store is away (default: 5m)', parseDuration('--trust'))
    .option('--take-over', 'another replica stood before the store: what it had not moved is lost (docs/replica.md, section 5)')
    .option('--other-is-gone', 'with --take-over: its process does not run, and will not; it is not waited for');
}

export function addReplicaCommands(program: Command, session: Session): void {
  const replica = program.command('replica').description('a store near its writers, in front of one that is slower').helpGroup('Set up:');
  standing(replica.command('serve').description('run a replica in the foreground'))
    .option('--listen <host:port>', 'listen there (default: 127.0.0.1:9480)', listenAddress)
    .option('--certificates <folder>', 'TLS: ca-cert.pem, server-cert.pem, server-key.pem; wanted where others can reach it')
    .option('--clients <how>', 'required: clients show a certificate of the same authority, too')
    .option('--waiting-bytes <bytes>', 'what may wait for the store behind, as in 4G (default: 1G)', parseBytes('--waiting-bytes'))
    .option('--waiting-objects <n>', 'objects that may wait (default: 100000)')
    .option('--metrics-port <port>', 'serve metrics for Prometheus there')
    .addHelpText('after', EXAMPLES)
    .action((options: ServeOptions) => serve(session, options));
  replica
    .command('status')
    .description('what waits in the replica that runs here, and since when')
    .option(...FOLDER)
    .action((options: { readonly folder?: string }) => status(session, options));
  standing(replica.command('release').description('move what waits, and give the store back: then it can be opened directly')).action(
    (options: StandingOptions) => release(session, options),
  );
  const token = replica.command('token').description('who may speak to a replica');
  token
    .command('add')
    .description('let somebody in; prints the token, once')
    .option(...FOLDER)
    .option('--until <moment>', 'it ends then, as in 2027-01-31', parseMoment('--until'))
    .action((options: TokenOptions) => addToken(session, options));
  token
    .command('list')
    .description('all tokens, without their secrets')
    .option(...FOLDER)
    .action((options: TokenOptions) => listTokens(session, options));
  token
    .command('remove')
    .description('withdraw one')
    .argument('<id>', 'as `holdfast replica token list` shows it: the middle part of the token')
    .option(...FOLDER)
    .action((id: string, options: TokenOptions) => removeToken(session, id, options));
}

const EXAMPLES = `
Examples:
  holdfast replica serve --folder /var/lib/holdfast-replica --store 's3://bucket/region-b?region=eu-central-1'
  holdfast store add region-b replica://127.0.0.1:9480 --passphrase env:HOLDFAST_PASSPHRASE
  holdfast replica token add --folder /var/lib/holdfast-replica
  holdfast store add region-b 'replicas://replica-b.example:9480?token=env:REPLICA_B_TOKEN&certificates=/etc/holdfast/replica-b' \\
      --passphrase env:HOLDFAST_PASSPHRASE`;
