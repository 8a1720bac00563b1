import type { CommandBus } from '@nestjs/cqrs';
import type { Response } from 'express';
import { DomainError, type ErrorKind } from '../../kernel/domain-error.js';
import { loggerFor } from '../../platform/logging/logger.js';
import type { GuestStream } from '../../platform/mounts/guest-stream.js';
import { BrowserError, type BrowserErrorCode } from '../../platform/mounts/guest-browser/browser-protocol.js';
import { AccessMount, type MountAccess, ReportAbandonedCall } from './restore-mount.commands.js';

const KINDS: Readonly<Record<BrowserErrorCode, ErrorKind>> = {
  path_invalid: 'invalid',
  path_too_long: 'invalid',
  file_not_found: 'not_found',
  not_a_directory: 'conflict',
  not_a_regular_file: 'conflict',
  link_leaves_mount: 'forbidden',
  link_loop: 'conflict',
  file_unreadable: 'upstream_broken',
  mount_gone: 'unavailable',
  mount_silent: 'upstream_silent',
};

const log = loggerFor('UseMount');

export interface MountUse {
  readonly mountId: string;
  readonly correlationId: string;
  /** Names the use in the events, should it be abandoned. */
  readonly operation: string;
  readonly path: string;
}

/**
 * Uses a mount: extends its deadline, and turns what the browser refuses into what the API says.
 * @throws DomainError
 */
export async function useMount<Result>(commands: CommandBus, use: MountUse, work: (mount: MountAccess) => Promise<Result>): Promise<Result> {
  const mount = await commands.execute<AccessMount, MountAccess>(new AccessMount(use.mountId, use.correlationId));
  try {
    return await work(mount);
  } catch (error) {
    if (!(error instanceof BrowserError)) throw error;
    await reportIfSilent(commands, use, error);
    throw new DomainError(KINDS[error.code], error.code, sentence(error.message), { mount_id: use.mountId, path: use.path });
  }
}

/** Sends what a use of a mount has opened, to its end; null: there is nothing to send. What cannot be sent to its end is cut off, logged, and reported where it was given up. */
export async function sendDownload(commands: CommandBus, use: MountUse, stream: GuestStream | null, response: Response): Promise<void> {
  if (stream === null) {
    response.end();
    return;
  }
  const failure = await stream.sendTo(response);
  if (failure !== null) {
    const { mountId, operation, path } = use;
    log.warn('a download was cut off', { mount_id: mountId, operation, path, code: failure.code, detail: failure.message });
    await reportIfSilent(commands, use, failure);
  }
  // A long download has used the mount until now.
  await commands.execute(new AccessMount(use.mountId, use.correlationId)).catch(() => undefined);
}

/** A call that was given up at its deadline leaves an event. */
async function reportIfSilent(commands: CommandBus, use: MountUse, error: BrowserError): Promise<void> {
  if (error.abandoned) await commands.execute(new ReportAbandonedCall(use.mountId, use.operation, error.message, use.correlationId));
}

function sentence(message: string): string {
  return `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;
}
