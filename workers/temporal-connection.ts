/**
 * A worker's way to Temporal: one connection, made only after the server has answered and has what our workflows set.
 *
 * The first question goes through the client's connection, whose errors tell a refusal from silence. A server that does not
 * let its search attributes be listed (some hosted ones) is believed to have them; a workflow that sets one says if not.
 */
import { Connection, isGrpcServiceError } from '@temporalio/client';
import { NativeConnection } from '@temporalio/worker';
import type { Logger } from 'pino';
import { HoldfastError } from '../src/domain/errors.ts';
import { SEARCH_ATTRIBUTES } from '../src/domain/jobs.ts';
import type { TemporalAccess } from '../src/ground/configuration/temporal-access.ts';

/** Status codes of gRPC that are met here. */
const NOT_FOUND = 5;
const PERMISSION_DENIED = 7;
const UNIMPLEMENTED = 12;
const UNAUTHENTICATED = 16;

function grpcOf(error: unknown): { readonly code: number; readonly details: string } | null {
  for (let at = error; at instanceof Error; at = at.cause) if (isGrpcServiceError(at)) return { code: at.code, details: at.details };
  return null;
}

/** What a call that failed means; the namespace is asked for by all of them. */
function translate(error: unknown, { address, namespace }: TemporalAccess): HoldfastError {
  const grpc = grpcOf(error);
  if (grpc?.code === UNAUTHENTICATED || grpc?.code === PERMISSION_DENIED)
    return new HoldfastError('TEMPORAL_DENIED', `Temporal at ${address} refuses: ${grpc.details}`, { address, namespace });
  if (grpc?.code === NOT_FOUND)
    return new HoldfastError('CONFIG_INVALID', `${address} has no namespace ${namespace}`, { field: 'temporal.namespace' });
  const why = grpc === null ? '' : `: ${grpc.details}`;
  return new HoldfastError('TEMPORAL_UNREACHABLE', `Temporal does not answer at ${address}${why}`, { address }, error);
}

async function missingAttributes(connection: Connection, { namespace }: TemporalAccess, log: Logger): Promise<readonly string[]> {
  try {
    const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
    return SEARCH_ATTRIBUTES.filter((name) => !(name in customAttributes));
  } catch (error) {
    const code = grpcOf(error)?.code;
    if (code !== PERMISSION_DENIED && code !== UNIMPLEMENTED) throw error;
    log.warn({ namespace, expected: SEARCH_ATTRIBUTES }, 'the server does not let search attributes be listed; they are taken to be there');
    return [];
  }
}

async function requireSearchAttributes(access: TemporalAccess, log: Logger): Promise<void> {
  const { address, namespace } = access;
  const security = access.security();
  let missing: readonly string[];
  try {
    const connection = await Connection.connect({ address, ...security });
    try {
      missing = await missingAttributes(connection, access, log);
    } finally {
      await connection.close();
    }
  } catch (error) {
    throw translate(error, access);
  }
  if (missing.length > 0)
    throw new HoldfastError('CONFIG_INVALID', `namespace ${namespace} lacks the search attributes ${missing.join(', ')}`, {
      field: 'temporal.namespace',
      expected: missing.map((name) => `temporal operator search-attribute create --name ${name} --type Keyword`),
    });
}

export async function connectTemporal(access: TemporalAccess, log: Logger): Promise<NativeConnection> {
  await requireSearchAttributes(access, log);
  const { address, security } = access;
  try {
    return await NativeConnection.connect({ address, ...security() });
  } catch (error) {
    throw translate(error, access);
  }
}
