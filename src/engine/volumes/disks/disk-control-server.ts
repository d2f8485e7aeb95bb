/** The control socket of a disk server: see disk-control.ts. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { ERROR_KINDS, HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import { parseInput } from '../../../domain/job-inputs.ts';
import { listenPrivately } from '../../../ground/processes/control-socket.ts';
import { DISK_OPERATIONS, REQUEST_BYTES_MAX, type DiskOperations } from './disk-control.ts';

/** The caller has made sure that no other server is alive on the socket. */
export async function serveDiskControl(
  socketPath: string,
  operations: DiskOperations,
  onMistake: (error: unknown) => void,
): Promise<AsyncDisposable> {
  const server = createServer((request, response) => {
    answer(request, operations).then(
      (result) => reply(response, 200, result ?? null),
      (error: unknown) => {
        if (!isHoldfastError(error)) onMistake(error);
        const { code, message, details } = isHoldfastError(error)
          ? error
          : { code: 'INTERNAL' as const, message: String(error), details: {} };
        reply(response, ERROR_KINDS[code].exitCode === 2 ? 400 : 409, { code, message, details });
      },
    );
  });
  return listenPrivately(server, socketPath);
}

const reply = (response: ServerResponse, status: number, body: unknown): void =>
  void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));

const isOperation = (name: string): name is keyof DiskOperations => Object.hasOwn(DISK_OPERATIONS, name);

async function answer(request: IncomingMessage, operations: DiskOperations): Promise<unknown> {
  const name = (request.url ?? '/').slice(1);
  if (request.method !== 'POST' || !isOperation(name))
    throw new HoldfastError('ARGUMENT_INVALID', `a disk server does not know ${request.method ?? ''} /${name}`, {
      field: 'operation',
      expected: Object.keys(DISK_OPERATIONS).map((one) => `POST /${one}`),
    });
  const body = await readBody(request);
  const args = parseInput(DISK_OPERATIONS[name], name, body);
  // The schema of a name gives the arguments of that name's operation.
  return (operations[name] as (...given: readonly unknown[]) => Promise<unknown>).apply(operations, args);
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > REQUEST_BYTES_MAX)
      throw new HoldfastError('ARGUMENT_INVALID', 'the request is too long', { expected: `${REQUEST_BYTES_MAX} bytes` });
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString() || '[]');
  } catch (cause) {
    throw new HoldfastError('ARGUMENT_INVALID', 'the request is not JSON', { field: 'body', expected: 'an array of arguments' }, cause);
  }
}
