/**
 * The closed table of error codes, and the one error class that carries them.
 *
 * Everything a person or a program can be told has a code here: what it means, whether trying again can help, what the
 * command line exits with, and what to do next. Activities, the CLI and (later) HTTP render from this table, so a code
 * means the same everywhere. Expected outcomes (an object that exists, a commit that lost its race) are return values.
 */

interface ErrorKind {
  readonly summary: string;
  readonly retryable: boolean;
  readonly exitCode: number;
  readonly hint: string;
}

/** Exit codes: 2 bad input, 3 not found, 4 refused, 5 damaged or wrong key, 6 a store or service cannot be reached, 1 the rest. */
export const ERROR_KINDS = {
  ARGUMENT_INVALID: {
    summary: 'an argument is not of the expected form',
    retryable: false,
    exitCode: 2,
    hint: 'see the field and what was expected; `holdfast help COMMAND` shows the form',
  },
  CONFIG_INVALID: {
    summary: 'the configuration is not usable',
    retryable: false,
    exitCode: 2,
    hint: 'mend the named field; `holdfast doctor` prints what is read from where',
  },
  RECORD_INVALID: {
    summary: 'a stored record is not of the expected form',
    retryable: false,
    exitCode: 5,
    hint: 'the object was written by something else or damaged; `holdfast verify` tells what is affected',
  },
  UPGRADE_REQUIRED: {
    summary: 'the repository was written by a newer Holdfast',
    retryable: false,
    exitCode: 4,
    hint: 'upgrade Holdfast on this machine; nothing was changed',
  },
  HINT_INVALID: {
    summary: 'the list of changed extents cannot be trusted',
    retryable: false,
    exitCode: 4,
    hint: 'capture again without the list; the volume is then compared as a whole',
  },

  VOLUME_NOT_FOUND: { summary: 'no such volume', retryable: false, exitCode: 3, hint: '`holdfast volume list` shows the names' },
  VOLUME_EXISTS: {
    summary: 'a volume of that name exists',
    retryable: false,
    exitCode: 4,
    hint: 'choose another name, or retire the old volume first',
  },
  VOLUME_RETIRED: {
    summary: 'the volume was retired',
    retryable: false,
    exitCode: 4,
    hint: 'add it again under the same name to start a new incarnation',
  },
  VOLUME_SHRANK: {
    summary: 'the volume is smaller than its newest snapshot',
    retryable: false,
    exitCode: 4,
    hint: 'if that is meant, capture with --allow-shrink',
  },
  SOURCE_UNREADABLE: {
    summary: 'the source of the volume cannot be read',
    retryable: false,
    exitCode: 6,
    hint: 'check the path and the permissions on the node that hosts the volume',
  },
  SOURCE_CHANGED: {
    summary: 'the source changed while it was read',
    retryable: false,
    exitCode: 4,
    hint: 'freeze or stop its writer, or consent to a fuzzy snapshot with --allow-fuzzy',
  },
  STORE_NOT_FOUND: { summary: 'no such store', retryable: false, exitCode: 3, hint: '`holdfast store list` shows the names' },
  STORE_EXISTS: { summary: 'a store of that name exists', retryable: false, exitCode: 4, hint: 'choose another name' },
  STORE_UNFIT: {
    summary: 'the store does not keep the guarantees that Holdfast needs',
    retryable: false,
    exitCode: 4,
    hint: 'use a store with atomic conditional puts (If-None-Match: *)',
  },
  STORE_UNREACHABLE: {
    summary: 'the store does not answer',
    retryable: true,
    exitCode: 6,
    hint: 'check the address, the network and the credentials; work goes on by itself when it answers again',
  },
  STORE_DENIED: {
    summary: 'the store refuses the credentials',
    retryable: false,
    exitCode: 6,
    hint: 'check the credentials and the bucket policy',
  },
  STORE_FULL: {
    summary: 'the store has no room left',
    retryable: true,
    exitCode: 6,
    hint: 'free room in the store; nothing was lost, the job goes on once there is room',
  },
  REPOSITORY_NOT_FOUND: {
    summary: 'the store holds no repository of that name',
    retryable: false,
    exitCode: 3,
    hint: '`holdfast rescue list` shows what the store holds',
  },
  REPOSITORY_OTHER: {
    summary: 'the store holds another repository than expected',
    retryable: false,
    exitCode: 4,
    hint: 'the address points at a different or re-created store; point it back, or add it under a new name',
  },
  PASSPHRASE_WRONG: {
    summary: 'the passphrase does not open the repository',
    retryable: false,
    exitCode: 5,
    hint: 'check the reference (environment variable, file or command) and the recovery sheet',
  },
  PASSPHRASE_MISSING: {
    summary: 'the passphrase reference yields nothing',
    retryable: false,
    exitCode: 2,
    hint: 'set the environment variable, or mend the file or command that the reference names',
  },

  SNAPSHOT_NOT_FOUND: {
    summary: 'no such snapshot',
    retryable: false,
    exitCode: 3,
    hint: '`holdfast snapshot list` shows the ids; --all includes hidden ones',
  },
  SNAPSHOT_GONE: {
    summary: 'the snapshot was reclaimed while it was read',
    retryable: false,
    exitCode: 3,
    hint: 'its pin had lapsed; choose another snapshot',
  },
  SNAPSHOT_PINNED: {
    summary: 'the snapshot is in use',
    retryable: true,
    exitCode: 4,
    hint: 'a restore or copy reads it; it is reclaimed when that ends',
  },
  VISIBILITY_CHANGED: {
    summary: 'the snapshot was hidden or shown by somebody else meanwhile',
    retryable: false,
    exitCode: 4,
    hint: 'look again and decide anew',
  },
  CLAIM_LOST: {
    summary: 'another attempt has taken over this lineage',
    retryable: false,
    exitCode: 4,
    hint: 'nothing is lost; the newer attempt goes on',
  },
  PARENT_MOVED: {
    summary: 'another snapshot was committed to this lineage meanwhile',
    retryable: true,
    exitCode: 4,
    hint: 'try again: the next attempt builds on the newer snapshot',
  },
  MISSING_EXTENTS: {
    summary: 'values that the snapshot relies on are not there',
    retryable: true,
    exitCode: 1,
    hint: 'try again: they are sent',
  },
  RECORD_REFUSED: {
    summary: 'the log does not admit this entry',
    retryable: false,
    exitCode: 4,
    hint: 'the reason says which rule stands against it',
  },
  BATCH_FOREIGN: {
    summary: 'an object of a journal belongs elsewhere: to another journal, epoch or place',
    retryable: false,
    exitCode: 5,
    hint: 'somebody copied or renamed it; nothing of it was used',
  },
  CHAIN_BROKEN: {
    summary: 'a batch of a journal does not follow the one before it',
    retryable: false,
    exitCode: 5,
    hint: 'the region lost or mixed up batches; points before the break are whole, later ones may be in another region',
  },
  TAIL_LOST: {
    summary: 'the journal would end before points that it has named',
    retryable: false,
    exitCode: 4,
    hint: 'bring back the region that holds the rest; or consent to the loss of these points',
  },
  JOURNAL_FENCED: {
    summary: 'this process does not, or no longer, own the journal',
    retryable: false,
    exitCode: 4,
    hint: 'somebody has taken it over, or it was closed; what was acknowledged is kept, and the log of the journal says who owns it now',
  },
  POINT_GONE: {
    summary: 'the journal cannot give this point',
    retryable: false,
    exitCode: 3,
    hint: 'choose one of the points that are listed: order was lost before this one, it is below the floor, or it never was',
  },
  RECOVERY_TOO_LARGE: {
    summary: 'too much was written between the base and the point for one plan',
    retryable: false,
    exitCode: 4,
    hint: 'fold the journal into a newer base, or recover to an earlier point',
  },
  WRITE_AHEAD_FAILED: {
    summary: 'the write-ahead file of a journal takes no more',
    retryable: false,
    exitCode: 6,
    hint: 'free room on its disk, or mend it, and open the volume again; what was confirmed is kept',
  },
  JOURNAL_NOT_FOUND: {
    summary: 'the catalog has no such journal',
    retryable: false,
    exitCode: 3,
    hint: '`holdfast protect status` lists those of disks, `holdfast journal status` streams',
  },
  NOT_PROTECTED: {
    summary: 'no records are made of these disks now',
    retryable: false,
    exitCode: 4,
    hint: 'protect them first; or look at their state: a journal that is not open, or a time of lost order, ends by itself',
  },
  CONTENTION: { summary: 'too many writers compete for the log', retryable: true, exitCode: 6, hint: 'try again in a moment' },

  OBJECT_MISSING: {
    summary: 'an object that is referred to is not there',
    retryable: false,
    exitCode: 5,
    hint: 'the store lost or removed it; `holdfast verify` lists what it held',
  },
  DAMAGED: {
    summary: 'stored bytes are not what was written',
    retryable: false,
    exitCode: 5,
    hint: 'restore from another store; `holdfast verify` lists what is affected',
  },
  LOG_DIVERGED: {
    summary: 'the log does not continue from what was read before',
    retryable: false,
    exitCode: 5,
    hint: 'the store was rolled back or replaced; do not write to it before you know why',
  },

  TARGET_EXISTS: {
    summary: 'the target of the restore is there already',
    retryable: false,
    exitCode: 4,
    hint: 'choose another path; a restore of a volume also takes --overwrite, or --differences to write only what differs',
  },
  TARGET_TOO_SMALL: { summary: 'the target is smaller than the snapshot', retryable: false, exitCode: 4, hint: 'choose a larger device' },
  TARGET_FULL: {
    summary: 'there is no room for the restored volume',
    retryable: false,
    exitCode: 6,
    hint: 'free room there, or choose another path; of a volume what was written stays, and --differences does not fetch it again',
  },
  TARGET_UNWRITABLE: { summary: 'the target cannot be written', retryable: false, exitCode: 6, hint: 'check the path and the permissions' },
  PROOF_FAILED: {
    summary: 'the restored bytes do not add up to the root of the snapshot',
    retryable: false,
    exitCode: 5,
    hint: 'do not use the target; restore again from another store',
  },

  DISK_NOT_FOUND: { summary: 'no such disk is served', retryable: false, exitCode: 3, hint: '`holdfast volume disks` shows the names' },
  DISK_EXISTS: {
    summary: 'another disk is served under that name, or from that path',
    retryable: false,
    exitCode: 4,
    hint: 'detach it first, or choose another name',
  },
  DISK_IN_USE: {
    summary: 'clients are connected to the disk',
    retryable: false,
    exitCode: 4,
    hint: 'end them first, or --force; what they have flushed is kept',
  },
  DISKS_NOT_SERVED: {
    summary: 'the disk server of the host does not answer',
    retryable: true,
    exitCode: 6,
    hint: 'start it there: `holdfast up`, or `holdfast volume serve`; the job waits for it',
  },
  HOOK_FAILED: {
    summary: 'a hook of the volume failed',
    retryable: false,
    exitCode: 4,
    hint: 'see its output in the log of the node; without hooks the snapshot is crash-consistent',
  },

  RECEIVER_NOT_FOUND: {
    summary: 'no such receiver',
    retryable: false,
    exitCode: 3,
    hint: '`holdfast replicate receiver list` shows the names',
  },
  RECEIVER_RUNS: {
    summary: 'a receiver serves this installation already',
    retryable: false,
    exitCode: 4,
    hint: '`holdfast receiver status` shows it; another installation (HOLDFAST_HOME) can have its own',
  },
  RECEIVER_EXISTS: { summary: 'a receiver of that name exists', retryable: false, exitCode: 4, hint: 'choose another name' },
  RECEIVER_UNREACHABLE: {
    summary: 'the receiver does not answer',
    retryable: true,
    exitCode: 6,
    hint: 'check the address, the network and the certificates; the session goes on by itself when it answers again',
  },
  RECEIVER_DENIED: {
    summary: 'the receiver refuses the token, or what it was asked for with it',
    retryable: false,
    exitCode: 6,
    hint: 'ask the operator of the receiver for a token that allows this',
  },
  RECEIVER_FULL: {
    summary: 'the quota of the token is used up',
    retryable: false,
    exitCode: 4,
    hint: 'let older snapshots go at the receiver, or ask its operator for more',
  },
  FRAME_INVALID: {
    summary: 'a peer breaks the replication protocol',
    retryable: false,
    exitCode: 5,
    hint: 'the two sides are of different versions, or what answers there is no Holdfast receiver',
  },
  NAME_GONE: {
    summary: 'extents of the snapshot can no longer be read at the sender',
    retryable: false,
    exitCode: 5,
    hint: '`holdfast verify` tells what is lost; the next snapshot is replicated as usual',
  },
  NAME_FALSE: {
    summary: 'data did not have the name under which it was sent',
    retryable: true,
    exitCode: 5,
    hint: 'it was damaged on its way and is sent again; if it comes again, check the memory of both hosts',
  },
  SESSION_FORGOTTEN: {
    summary: 'the receiver has lost its notes of a session',
    retryable: true,
    exitCode: 1,
    hint: 'nothing to do: the session is opened again, and names go over once more',
  },
  ROUND_OVER: { summary: 'a newer round is under way', retryable: true, exitCode: 1, hint: 'nothing to do: the newer round goes on' },
  ROOT_DIFFERS: {
    summary: 'what was named is not the snapshot that was meant',
    retryable: false,
    exitCode: 5,
    hint: 'please report it with the details; nothing became visible at the receiver',
  },
  RETENTION_FLOOR: {
    summary: 'the snapshot is not old enough to be hidden with this token',
    retryable: false,
    exitCode: 4,
    hint: 'wait, or ask the operator of the receiver',
  },

  REPLICA_FENCED: {
    summary: 'this replica does not, or no longer, stand before its store',
    retryable: false,
    exitCode: 4,
    hint: 'docs/replica.md, section 6: if the other one is gone for good, `--take-over`; what was never moved stays in the folder',
  },
  REPLICA_RUNS: {
    summary: 'a replica uses this folder already',
    retryable: false,
    exitCode: 4,
    hint: '`holdfast replica status` shows it; stop it first',
  },
  REPLICA_NOT_RUNNING: {
    summary: 'no replica runs on this folder',
    retryable: false,
    exitCode: 6,
    hint: '`holdfast replica serve` starts one',
  },

  TABLE_NOT_FOUND: { summary: 'no such table', retryable: false, exitCode: 3, hint: '`holdfast table list` shows the names' },
  TABLE_EXISTS: { summary: 'a table of that name exists', retryable: false, exitCode: 4, hint: 'choose another name' },
  TABLE_NOT_ARCHIVED: {
    summary: 'nothing of the table was archived yet',
    retryable: false,
    exitCode: 3,
    hint: '`holdfast table archive start NAME` begins; `holdfast table archive status NAME` shows how far it is',
  },
  PAST_OUTSIDE: {
    summary: 'the past state lies outside of what can be had',
    retryable: false,
    exitCode: 4,
    hint: 'take a time within the window that is named; `holdfast table status` shows what holds it back',
  },
  TRANSACTION_NOT_FOUND: {
    summary: 'no such transaction is in the archive',
    retryable: false,
    exitCode: 3,
    hint: "it is named as the events name it: PostgreSQL's txid, MySQL's GTID; or its segments were dropped by retention",
  },
  TRANSACTION_AMBIGUOUS: {
    summary: 'several transactions had that number',
    retryable: false,
    exitCode: 4,
    hint: 'take one of the times that are named, or a position',
  },
  POSTGRES_UNREACHABLE: {
    summary: 'PostgreSQL does not answer',
    retryable: true,
    exitCode: 6,
    hint: 'check the address and the network; the job goes on by itself when it answers again',
  },
  POSTGRES_DENIED: {
    summary: 'PostgreSQL refuses the credentials',
    retryable: false,
    exitCode: 6,
    hint: 'check user, password and their right to create tables',
  },
  KAFKA_UNREACHABLE: {
    summary: 'the Kafka brokers do not answer',
    retryable: true,
    exitCode: 6,
    hint: 'check the addresses and the network; work goes on by itself when they answer again',
  },
  KAFKA_DENIED: {
    summary: 'the Kafka brokers refuse the credentials, or what was asked for with them',
    retryable: false,
    exitCode: 6,
    hint: 'check the credentials and the rights to read the topics',
  },
  TOPIC_REPLACED: {
    summary: 'the topic is another one than was archived: it ends before where the archive stands',
    retryable: false,
    exitCode: 5,
    hint: 'it was made anew, or its brokers have lost what they had confirmed; archive what is there now as a table of another name',
  },
  TOPIC_NOT_FOUND: {
    summary: 'no topic is there that the table names',
    retryable: true,
    exitCode: 3,
    hint: 'check the names; archiving begins by itself when a topic is made',
  },

  EVENTS_NOT_CONFIGURED: {
    summary: 'this installation sends no events',
    retryable: false,
    exitCode: 3,
    hint: '`holdfast events configure --brokers HOST:PORT` says where they go',
  },
  TRIGGER_NOT_FOUND: { summary: 'no such trigger', retryable: false, exitCode: 3, hint: '`holdfast trigger list` shows the names' },
  TRIGGER_EXISTS: { summary: 'a trigger of that name exists', retryable: false, exitCode: 4, hint: 'choose another name' },

  JOB_NOT_FOUND: { summary: 'no such job', retryable: false, exitCode: 3, hint: '`holdfast job list` shows the ids' },
  JOB_CANCELLED: { summary: 'the job was cancelled', retryable: false, exitCode: 1, hint: 'start it again to go on where it stopped' },
  NODE_UNAVAILABLE: {
    summary: 'no worker serves the node that hosts the volume',
    retryable: true,
    exitCode: 6,
    hint: 'start `holdfast node` there; the job waits for it',
  },
  TEMPORAL_UNREACHABLE: {
    summary: 'the Temporal server does not answer',
    retryable: true,
    exitCode: 6,
    hint: '`holdfast up` starts one; `holdfast rescue` works without',
  },
  TEMPORAL_DENIED: {
    summary: 'the Temporal server refuses the credentials',
    retryable: false,
    exitCode: 6,
    hint: 'check TEMPORAL_API_KEY or the client certificate, and their rights on the namespace',
  },
  COMPONENT_UNAVAILABLE: {
    summary: 'a component that is needed cannot be had here',
    retryable: false,
    exitCode: 6,
    hint: 'set the address in the environment or install what the message names',
  },
  INTERNAL: { summary: 'a mistake in Holdfast', retryable: false, exitCode: 1, hint: 'please report it with the details' },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof ERROR_KINDS;

/** Facts about one occurrence: names, numbers, what was expected. Never a secret. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | null | readonly string[] | readonly number[]>>;

export class HoldfastError extends Error {
  override readonly name = 'HoldfastError';
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.details = details;
  }

  get retryable(): boolean {
    return ERROR_KINDS[this.code].retryable;
  }
}

export const isErrorCode = (text: string): text is ErrorCode => Object.hasOwn(ERROR_KINDS, text);

/** Narrows to a HoldfastError, optionally of one of the codes named. */
export const isHoldfastError = (error: unknown, ...codes: readonly ErrorCode[]): error is HoldfastError =>
  error instanceof HoldfastError && (codes.length === 0 || codes.includes(error.code));

/** What was thrown, in words; what is thrown need not be an error. */
export const messageOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));
