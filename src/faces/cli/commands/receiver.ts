/** `holdfast receiver`: this installation as a place that others replicate to: its process, its tokens, its sessions. */
import type { Command } from 'commander';
import { HoldfastError } from '../../../domain/errors.ts';
import { repositoryName, storeName, type RepositoryName, type StoreName } from '../../../domain/ids.ts';
import { parseListen } from '../../../engine/volumes/listening.ts';
import type { TokenRecord } from '../../../engine/replication/tokens.ts';
import type { SessionStatus } from '../../../engine/replication/receiving/receiving.ts';
import { formatBytes, formatDuration, formatTime, parseBytes, parseDuration, parseMoment } from '../quantities.ts';
import type { Session } from '../session.ts';
import { renderTable } from '../table.ts';

interface ServeOptions {
  readonly listen?: string;
  readonly certificates?: string;
  readonly clients?: string;
  readonly metricsPort?: string;
}

async function serve(session: Session, { listen, certificates, clients, metricsPort }: ServeOptions): Promise<void> {
  const { runWorker } = await import('../run-worker.ts');
  const { resolve } = await import('node:path');
  await runWorker(session, 'receiver', {
    HOLDFAST_RECEIVER_LISTEN: listen,
    HOLDFAST_RECEIVER_CERTIFICATES: certificates === undefined ? undefined : resolve(certificates),
    HOLDFAST_RECEIVER_CLIENTS: clients,
    HOLDFAST_METRICS_PORT: metricsPort,
  });
}

interface TokenOptions {
  readonly store: StoreName;
  readonly repository?: RepositoryName;
  readonly prefix: string;
  readonly rights: TokenRecord['rights'];
  readonly quota?: number;
  readonly floor?: number;
  readonly proof: string;
  readonly until?: number;
  readonly certificate?: string;
}

async function addToken(session: Session, options: TokenOptions): Promise<void> {
  const [{ randomBytes }, { mintToken, tokenRecord }] = await Promise.all([
    import('node:crypto'),
    import('../../../engine/replication/tokens.ts'),
  ]);
  const { store, repository, prefix, rights, quota, floor, proof, until } = options;
  const { token, id, digest } = mintToken(randomBytes);
  const certificate = options.certificate === undefined ? null : await fingerprintOf(options.certificate);
  const parsed = tokenRecord.safeParse({
    ...{ id, digest, store, repository: repository ?? null, prefix, rights, proof, certificate },
    ...{ quotaBytes: quota ?? null, retentionFloorMs: floor ?? null, untilMs: until ?? null },
  });
  if (!parsed.success) throw refused(String(parsed.error.issues[0]?.path[0] ?? 'token'));
  const { catalog } = await session.home();
  await catalog.append(() => ({ kind: 'TOKEN_ADD', token: parsed.data }));
  session.print({ token, ...shown(parsed.data) }, () => `${token}\n`);
  session.say('shown this once: nothing here keeps it. Whoever has it can send; `holdfast receiver token remove` withdraws it');
}

const EXPECTED: Readonly<Record<string, string>> = {
  prefix: 'at most 31 letters, digits, dots, underscores and dashes',
  proof: 'listed, sampled or all',
  rights: 'of add and hide, separated by commas',
};

const refused = (field: string): HoldfastError =>
  new HoldfastError('ARGUMENT_INVALID', `--${field} is not of the expected form`, {
    field: `--${field}`,
    expected: EXPECTED[field] ?? 'see --help',
  });

/** SHA-256 of a certificate, hex. */
async function fingerprintOf(file: string): Promise<string> {
  const [{ readFile }, { X509Certificate }] = await Promise.all([import('node:fs/promises'), import('node:crypto')]);
  try {
    return new X509Certificate(await readFile(file)).fingerprint256.replaceAll(':', '').toLowerCase();
  } catch (cause) {
    throw new HoldfastError(
      'ARGUMENT_INVALID',
      `no certificate can be read from ${file}`,
      { field: '--certificate', expected: 'a PEM file, of the client and not of its key' },
      cause,
    );
  }
}

/** All but the digest: it is of use to nobody who reads this. */
const shown = ({ digest: _digest, ...rest }: TokenRecord): Omit<TokenRecord, 'digest'> => rest;

async function listTokens(session: Session): Promise<void> {
  const { tokens } = await (await session.home()).catalog.sync();
  const rows = [...tokens.values()].map(shown);
  session.print(rows, () =>
    renderTable(
      [
        { title: 'TOKEN', cell: ({ id }) => id },
        { title: 'STORE', cell: ({ store }) => store },
        { title: 'REPOSITORY', cell: ({ repository }) => repository ?? 'one a volume' },
        { title: 'PREFIX', cell: ({ prefix }) => prefix },
        { title: 'RIGHTS', cell: ({ rights }) => rights.join(',') },
        { title: 'QUOTA', align: 'right', cell: ({ quotaBytes }) => (quotaBytes === null ? '' : formatBytes(quotaBytes)) },
        { title: 'FLOOR', align: 'right', cell: ({ retentionFloorMs: floor }) => (floor === null ? '' : formatDuration(floor)) },
        { title: 'PROOF', cell: ({ proof }) => proof },
        { title: 'UNTIL', cell: ({ untilMs }) => (untilMs === null ? '' : formatTime(untilMs)) },
        { title: 'CERTIFICATE', cell: ({ certificate }) => (certificate === null ? 'any' : `${certificate.slice(0, 16)}...`) },
      ],
      rows,
      'nobody may replicate to here; `holdfast receiver token add --store S` lets somebody',
    ),
  );
}

async function removeToken(session: Session, id: string): Promise<void> {
  const { catalog } = await session.home();
  await catalog.append(() => ({ kind: 'TOKEN_REMOVE', id }));
  session.print({ removed: id }, () => `token ${id} is withdrawn: nothing more is heard from it within seconds; what it sent stays\n`);
}

async function status(session: Session): Promise<void> {
  const [{ askReceiver }, { receiverFolderOf }] = await Promise.all([
    import('../../../systems/replication/receiver-control.ts'),
    import('../../../systems/replication/receiver-folder.ts'),
  ]);
  const answer = await askReceiver(receiverFolderOf((await session.configuration()).folder).controlSocket);
  const rows = [...answer.sessions, ...answer.ended];
  session.print(
    answer,
    () => `${answer.url}, ${answer.connections} connections\n${renderTable(COLUMNS, rows, 'no session since it was started')}`,
  );
}

const COLUMNS: Parameters<typeof renderTable<SessionStatus>>[0] = [
  { title: 'LINEAGE', cell: ({ lineage }) => lineage },
  { title: 'SNAPSHOT', cell: ({ snapshot }) => snapshot },
  { title: 'STATE', cell: (one) => one.status },
  { title: 'SIZE', align: 'right', cell: ({ sizeBytes }) => formatBytes(sizeBytes) },
  { title: 'NAMED', align: 'right', cell: ({ figures }) => String(figures.named) },
  { title: 'HELD', align: 'right', cell: ({ figures }) => String(figures.held) },
  { title: 'ASKED', align: 'right', cell: ({ figures }) => String(figures.asked) },
  { title: 'CAME', align: 'right', cell: ({ figures }) => String(figures.accepted) },
  { title: 'HEALED', align: 'right', cell: ({ figures }) => String(figures.healed) },
  { title: 'PROOFS', align: 'right', cell: ({ figures }) => String(figures.proofs) },
  { title: 'WIRE', align: 'right', cell: ({ figures }) => formatBytes(figures.wireBytes) },
  { title: 'STORED', align: 'right', cell: ({ figures }) => formatBytes(figures.storedBytes) },
  { title: 'TOKEN', cell: ({ peer }) => peer },
];

const listenAddress = (text: string): string => {
  parseListen(text, '--listen');
  return text;
};

function clientsRequired(text: string): string {
  if (text === 'required' || text === 'optional') return text;
  throw new HoldfastError('ARGUMENT_INVALID', '--clients is required or optional', {
    field: '--clients',
    expected: 'required, or optional',
  });
}

/** The schema of the record judges what is in it. */
const rightsOf = (text: string): readonly string[] => [...new Set(text.split(',').map((right) => right.trim()))];

export function addReceiverCommands(program: Command, session: Session): void {
  const receiver = program.command('receiver').description('take snapshots that other installations send').helpGroup('Set up:');
  receiver
    .command('serve')
    .description('run the receiver of this machine in the foreground')
    .option('--listen <host:port>', 'listen there (default: 127.0.0.1:9470)', listenAddress)
    .option('--certificates <folder>', 'TLS: ca-cert.pem, server-cert.pem, server-key.pem; wanted where others can reach it')
    .option('--clients <how>', 'required: senders show a certificate of the same authority, too', clientsRequired)
    .option('--metrics-port <port>', 'serve metrics for Prometheus there')
    .action((options: ServeOptions) => serve(session, options));
  receiver
    .command('status')
    .description('sessions of the receiver that runs here')
    .action(() => status(session));
  const token = receiver.command('token').description('who may send, and what each may do');
  token
    .command('add')
    .description('let somebody send; prints the token, once')
    .requiredOption('-s, --store <name>', 'where what is sent is kept', storeName)
    .option('--repository <name>', 'one that all its volumes share (default: one for each volume)', repositoryName)
    .option('--prefix <text>', 'put before its volume names: its name space', '')
    .option('--rights <list>', 'of add, hide', rightsOf, ['add'])
    .option('--quota <bytes>', 'what it may store, as in 500G', parseBytes('--quota'))
    .option('--floor <duration>', 'it hides no snapshot that is younger, as in 30d', parseDuration('--floor'))
    .option('--proof <level>', 'the least that is proven of what is here already: listed, sampled or all', 'sampled')
    .option('--until <moment>', 'it ends then, as in 2027-01-31', parseMoment('--until'))
    .option('--certificate <file>', 'it is taken only with this client certificate (PEM)')
    .action((options: TokenOptions) => addToken(session, options));
  token
    .command('list')
    .description('all tokens, without their secrets')
    .action(() => listTokens(session));
  token
    .command('remove')
    .description('withdraw one; what it sent stays')
    .argument('<id>', 'as `holdfast receiver token list` shows it: the middle part of the token')
    .action((id: string) => removeToken(session, id));
}
