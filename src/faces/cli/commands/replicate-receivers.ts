/** `holdfast replicate receiver`: where snapshots can be replicated to, and with what those places are spoken to. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { HoldfastError } from '../../../domain/errors.ts';
import type { ReceiverRecord } from '../../../engine/catalog/receivers.ts';
import { passphraseReference, receiverName } from '../arguments.ts';
import { formatBytes, parseBytes } from '../quantities.ts';
import type { Session } from '../session.ts';
import { renderTable } from '../table.ts';

interface ReceiverOptions {
  readonly url: string;
  readonly token: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly seal: string;
  readonly passphrase?: string;
  readonly limit?: number;
}

const halved = (field: string, expected: string): HoldfastError =>
  new HoldfastError('ARGUMENT_INVALID', `${field} is needed with what is given`, { field, expected });

function sealOf({ seal, passphrase }: ReceiverOptions): ReceiverRecord['seal'] {
  if (seal === 'receiver') {
    if (passphrase !== undefined) throw halved('--seal', 'sender: a receiver that seals has a key of its own');
    return { by: 'receiver' };
  }
  if (seal !== 'sender')
    throw new HoldfastError('ARGUMENT_INVALID', `nobody seals as ${JSON.stringify(seal.slice(0, 20))}`, {
      field: '--seal',
      expected: 'receiver or sender',
    });
  if (passphrase === undefined) throw halved('--passphrase', 'env:NAME, file:/path or command:..., of a key that the receiver never has');
  return { by: 'sender', passphrase };
}

function recordOf(name: string, options: ReceiverOptions): ReceiverRecord {
  const { url, token, ca, cert, key, limit } = options;
  if ((cert === undefined) !== (key === undefined)) throw halved(cert === undefined ? '--cert' : '--key', 'both, or neither');
  return {
    ...{ name, url, token, ca: ca === undefined ? null : resolve(ca) },
    client: cert === undefined || key === undefined ? null : { cert: resolve(cert), key: resolve(key) },
    ...{ seal: sealOf(options), bytesPerSecondMax: limit ?? null },
  };
}

/** What can be known to be wrong here: an address that is none, a token that is none, a secret that is not there. */
async function check(session: Session, { url, token, seal }: ReceiverRecord): Promise<void> {
  const [{ parseReceiverUrl }, { parseToken }, { resolvePassphrase }] = await Promise.all([
    import('../../../engine/replication/transport/client.ts'),
    import('../../../engine/replication/tokens.ts'),
    import('../../../ground/sealing/passphrase.ts'),
  ]);
  parseReceiverUrl(url);
  parseToken(await resolvePassphrase(token, session.variables));
  if (seal.by === 'sender') await resolvePassphrase(seal.passphrase, session.variables);
}

async function enter(session: Session, kind: 'RECEIVER_ADD' | 'RECEIVER_SET', name: string, options: ReceiverOptions): Promise<void> {
  const receiver = recordOf(name, options);
  await check(session, receiver);
  const { catalog } = await session.home();
  await catalog.append(() => ({ kind, receiver }));
  session.print({ receiver }, () => `receiver ${name} is ${kind === 'RECEIVER_ADD' ? 'added' : 'changed'}\n`);
  for (const reference of [receiver.token, ...(receiver.seal.by === 'sender' ? [receiver.seal.passphrase] : [])])
    if (reference.startsWith('env:'))
      session.say(`workers that were started without ${reference.slice(4)} in their environment have to be started again with it`);
}

async function list(session: Session): Promise<void> {
  const receivers = [...(await (await session.home()).catalog.sync()).receivers.values()];
  session.print(receivers, () =>
    renderTable(
      [
        { title: 'RECEIVER', cell: ({ name }) => name },
        { title: 'ADDRESS', cell: ({ url }) => url },
        { title: 'TOKEN', cell: ({ token }) => token },
        { title: 'SEALED BY', cell: ({ seal }) => (seal.by === 'sender' ? `sender, ${seal.passphrase}` : 'receiver') },
        {
          title: 'LIMIT',
          align: 'right',
          cell: ({ bytesPerSecondMax }) => (bytesPerSecondMax === null ? '' : `${formatBytes(bytesPerSecondMax)}/s`),
        },
      ],
      receivers,
      'no receivers yet; `holdfast replicate receiver add NAME --url URL --token REF` adds one',
    ),
  );
}

async function remove(session: Session, name: string): Promise<void> {
  const { catalog } = await session.home();
  await catalog.append(() => ({ kind: 'RECEIVER_REMOVE', name }));
  session.print({ removed: name }, () => `receiver ${name} is no longer known; what it holds is untouched\n`);
}

export function addReplicateReceiverCommands(replicate: Command, session: Session): void {
  const receiver = replicate.command('receiver').description('the places of others that snapshots can be replicated to');
  const entering = (name: string, description: string, kind: 'RECEIVER_ADD' | 'RECEIVER_SET'): Command =>
    receiver
      .command(name)
      .description(description)
      .argument('<name>', 'a name for it', receiverName)
      .requiredOption('--url <url>', 'https://HOST:PORT, or http:// on a loopback address')
      .requiredOption('--token <ref>', 'env:NAME, file:/path or command:... of what its operator has given', passphraseReference)
      .option('--ca <file>', 'PEM of the authority of its certificate (default: those of the system)')
      .option('--cert <file>', 'PEM of a certificate of this side')
      .option('--key <file>', 'and its key')
      .option('--seal <who>', 'receiver, or sender: then it can read nothing', 'receiver')
      .option('--passphrase <ref>', 'with --seal sender: of the key; keep it, for nobody else has it', passphraseReference)
      .option('--limit <bytes>', 'at most so many bytes a second are sent, as in 20M', parseBytes('--limit'))
      .action((given: string, options: ReceiverOptions) => enter(session, kind, given, options));
  entering('add', 'add a receiver', 'RECEIVER_ADD');
  entering('set', 'say anew where it is and how it is spoken to', 'RECEIVER_SET');
  receiver
    .command('list')
    .description('all receivers')
    .action(() => list(session));
  receiver
    .command('remove')
    .description('forget a receiver that no volume is replicated to by itself')
    .argument('<name>', 'of the receiver', receiverName)
    .action((name: string) => remove(session, name));
}
