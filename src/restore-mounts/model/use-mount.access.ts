import type { CommandBus } from '@nestjs/cqrs';
import { DomainError, type ErrorKind } from '../../kernel/domain-error.js';
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

/**
 * Uses a mount: extends its deadline, and turns what the browser refuses into what the API says.
 * @param operation names the use in the events, should it be abandoned
 * @throws DomainError
 */
export async function useMount<Result>(
  commands: CommandBus,
  use: { readonly mountId: string; readonly correlationId: string; readonly operation: string; readonly path: string },
  work: (mount: MountAccess) => Promise<Result>,
): Promise<Result> {
  const mount = await commands.execute<AccessMount, MountAccess>(new AccessMount(use.mountId, use.correlationId));
  try {
    return await work(mount);
  } catch (error) {
    if (!(error instanceof BrowserError)) throw error;
    await reportIfSilent(commands, use, error);
    throw new DomainError(KINDS[error.code], error.code, sentence(error.message), { mount_id: use.mountId, path: use.path });
  }
}

/** A call that was given up at its deadline leaves an event. */
export async function reportIfSilent(
  commands: CommandBus,
  use: { readonly mountId: string; readonly correlationId: string; readonly operation: string },
  error: BrowserError,
): Promise<void> {
  if (error.abandoned) await commands.execute(new ReportAbandonedCall(use.mountId, use.operation, error.message, use.correlationId));
}

function sentence(message: string): string {
  return `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;
}
