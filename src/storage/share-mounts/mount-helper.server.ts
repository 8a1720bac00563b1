import { chmod, chown, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { text as readAll } from 'node:stream/consumers';
import { DomainError } from '../../kernel/domain-error.js';
import { messageOf } from '../../kernel/error-message.js';
import type { JsonObject } from '../../kernel/json.js';
import { WrongShapeError } from '../../lib/json-shape/json-shape.js';
import type { Logger } from '../../lib/logging/logger.js';
import { type MountHelper, notMounted } from './mount-helper.port.js';
import { parseMountRequest } from './mount-request.plan.js';

/** A request that is not complete by then is dropped. */
const REQUEST_MS = 5_000;
const MAX_REQUEST_CHARACTERS = 64 * 1024;

/** Serves a mount helper on a Unix socket: one request for each connection, JSON until the client ends its side, then one answer. */
export class MountHelperServer {
  private constructor(private readonly server: Server) {}

  /** @param gid group that may connect, in addition to root */
  static async start(socket: string, gid: number, helper: MountHelper, log: Logger): Promise<MountHelperServer> {
    await rm(socket, { force: true });
    const server = createServer({ allowHalfOpen: true }, (connection) => {
      connection.on('error', () => connection.destroy());
      answer(connection, helper, log)
        .then((reply) => connection.end(`${JSON.stringify(reply)}\n`))
        .catch((error: unknown) => {
          log.warn('request dropped', { error });
          connection.destroy();
        });
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(socket, resolve);
    });
    await chown(socket, 0, gid);
    await chmod(socket, 0o660);
    return new MountHelperServer(server);
  }

  async stop(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.server.close(() => resolve());
    });
  }
}

async function answer(connection: Socket, helper: MountHelper, log: Logger): Promise<JsonObject> {
  const late = setTimeout(() => connection.destroy(new Error('the request was not complete in time')), REQUEST_MS);
  let received = 0;
  connection.on('data', (chunk: Buffer) => {
    received += chunk.length;
    if (received > MAX_REQUEST_CHARACTERS) connection.destroy(new Error('the request is too long'));
  });
  try {
    const request = parseMountRequest(JSON.parse(await readAll(connection).finally(() => clearTimeout(late))));
    switch (request.do) {
      case 'mount':
        return { done: await helper.mount(request.name, request.share) };
      case 'unmount':
        await helper.unmount(request.name);
        return { done: {} };
      default: {
        const { directory, mounted } = await helper.status();
        return { done: { directory, mounted: [...mounted] } };
      }
    }
  } catch (error) {
    if (connection.destroyed) throw error;
    if (error instanceof DomainError) return { reason: typeof error.facts['reason'] === 'string' ? error.facts['reason'] : 'failed', detail: error.message };
    log.warn('request failed', { error });
    const refused = error instanceof WrongShapeError || error instanceof SyntaxError;
    return { reason: 'failed', detail: notMounted('failed', `${refused ? 'Refused by the mount helper: ' : ''}${messageOf(error)}`).message };
  }
}
