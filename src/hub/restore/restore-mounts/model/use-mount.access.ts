import { Injectable } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import type { Response } from 'express';
import { RecordAccess, RecordAccessEnd } from '../../../history/audit/model/access.commands.js';
import { DomainError, type ErrorKind } from '../../../../kernel/domain-error.js';
import type { RequestReader } from '../../../operations/http/request-reader.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import type { GuestStream } from '../../mounts/guest-stream.js';
import { BrowserError, type BrowserErrorCode } from '../../mounts/guest-browser/browser-protocol.js';
import { MountRunner } from './mount.runner.js';
import type { MountAccess } from './restore-mount.commands.js';

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

export interface MountUse {
  readonly mountId: string;
  readonly reader: RequestReader;
  readonly operation: 'list_files' | 'file_info' | 'download' | 'download_directory';
  readonly path: string;
}

/** A recorded download, ready to be sent. */
export interface OpenDownload {
  readonly accessId: string;
  readonly backupId: string;
  /** null: nothing to send. */
  readonly stream: GuestStream | null;
}

/** How requests use a mount: each use extends its deadline, and is in the access log before any content is sent. */
@Injectable()
export class MountUses {
  private readonly log = loggerFor('UseMount');

  constructor(
    private readonly mounts: MountRunner,
    private readonly commands: CommandBus,
  ) {}

  /** Converts a BrowserError of the work to the API's error. @throws DomainError */
  async use<Result>(use: MountUse, work: (mount: MountAccess) => Promise<Result>): Promise<Result> {
    const mount = await this.mounts.access(use.mountId, use.reader);
    try {
      return await work(mount);
    } catch (error) {
      if (!(error instanceof BrowserError)) throw error;
      await this.reportIfSilent(use, error);
      throw new DomainError(KINDS[error.code], error.code, sentence(error.message), { mount_id: use.mountId, path: use.path });
    }
  }

  /** Records the access to a path, which must precede sending any of its content. The result is the id of the access. @throws EventStoreUnavailableError */
  async recordAccess(use: MountUse, mount: MountAccess, resolvedPath: string, options: Readonly<Record<string, string>> = {}): Promise<string> {
    const { mountId, operation, path, reader } = use;
    const { backup_id, vm_name, disk_index } = mount;
    const access = { operation, backup_id, vm_name, mount_id: mountId, disk_index, path, resolved_path: resolvedPath, options };
    return this.commands.execute(new RecordAccess(access, reader));
  }

  /** Records a download before its first byte is sent; ends the stream if the download cannot be recorded. @throws EventStoreUnavailableError */
  async recordDownload(
    use: MountUse,
    mount: MountAccess,
    stream: GuestStream | null,
    resolvedPath: string,
    options: Readonly<Record<string, string>>,
  ): Promise<OpenDownload> {
    try {
      return { accessId: await this.recordAccess(use, mount, resolvedPath, options), backupId: mount.backup_id, stream };
    } catch (error) {
      stream?.destroy();
      throw error;
    }
  }

  /**
   * Sends an open download to its end. An incomplete download closes the connection and is logged; a stream abandoned at its deadline is also recorded as an
   * event.
   */
  async sendDownload(use: MountUse, download: OpenDownload, response: Response): Promise<void> {
    const { stream, accessId, backupId } = download;
    const ended = (bytesSent: number, outcome: 'completed' | 'cut', detail: string | null): Promise<void> =>
      this.commands.execute(new RecordAccessEnd(backupId, { access_id: accessId, bytes_sent: bytesSent, outcome, detail }, use.reader));
    if (stream === null) {
      response.end();
      await ended(0, 'completed', null);
      return;
    }
    const failure = await stream.sendTo(response);
    const isWhole = failure === null && response.writableEnded;
    await ended(
      stream.sentBytes - (isWhole ? 0 : response.writableLength),
      isWhole ? 'completed' : 'cut',
      isWhole ? null : (failure?.message ?? 'the client closed the connection'),
    );
    const { mountId, operation, path, reader } = use;
    if (failure !== null) {
      this.log.warn('download cut short', { mount_id: mountId, operation, path, code: failure.code, detail: failure.message });
      await this.reportIfSilent(use, failure);
    }
    // A long download used the mount until now.
    await this.mounts.access(mountId, reader).catch(() => undefined);
  }

  /** A call abandoned at its deadline is recorded as an event. */
  private async reportIfSilent(use: MountUse, error: BrowserError): Promise<void> {
    if (error.abandoned) await this.mounts.reportAbandoned(use.mountId, use.operation, error.message, use.reader);
  }
}

function sentence(message: string): string {
  return `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;
}
