import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { text as readAll } from 'node:stream/consumers';
import { messageOf } from '../../kernel/error-message.js';
import { listOf, object, oneOf, orNull, text } from '../../lib/json-shape/json-shape.js';
import { type MountedShare, type MountHelper, type MountHelperStatus, notMounted } from './mount-helper.port.js';
import type { MountRequest } from './mount-request.plan.js';
import type { MountFailure, Share } from './share-mount.plan.js';

/** The helper tries each version of a protocol, each for at most half a minute. */
const ANSWER_MS = 150_000;
const REASONS = [
  'version_unsupported',
  'access_denied',
  'not_exported',
  'unreachable',
  'client_missing',
  'credentials_invalid',
  'mount_point_unsafe',
  'failed',
] as const satisfies readonly MountFailure[];

/** The mount helper that runs as a program of its own, through its socket. */
export class MountHelperClient implements MountHelper {
  constructor(private readonly socket: string) {}

  async mount(name: string, share: Share): Promise<MountedShare> {
    const done = object(await this.ask({ do: 'mount', name, share }), 'done');
    return { path: text(done['path'], 'path'), version: orNull(text)(done['version'], 'version') };
  }

  async unmount(name: string): Promise<void> {
    await this.ask({ do: 'unmount', name });
  }

  async status(): Promise<MountHelperStatus> {
    const done = object(await this.ask({ do: 'status' }), 'done');
    return { directory: text(done['directory'], 'directory'), mounted: listOf(text)(done['mounted'], 'mounted') };
  }

  /** False: it has never run since the machine was started. */
  mayBeThere(): boolean {
    return existsSync(this.socket);
  }

  private async ask(request: MountRequest): Promise<unknown> {
    const connection = connect({ path: this.socket, allowHalfOpen: true });
    const late = setTimeout(() => connection.destroy(new Error(`no answer within ${ANSWER_MS / 1000} s`)), ANSWER_MS);
    let answer: unknown;
    try {
      connection.end(JSON.stringify(request));
      answer = JSON.parse(await readAll(connection));
    } catch (error) {
      throw notMounted(
        'failed',
        `The mount helper does not answer at "${this.socket}": ${messageOf(error)}. Start sendense-mounts.service, or mount the share by other means and ` +
          'create a local repository with require_mount.',
      );
    } finally {
      clearTimeout(late);
      connection.destroy();
    }
    const { done, reason, detail } = object(answer, 'answer of the mount helper');
    if (done !== undefined) return done;
    throw notMounted(oneOf(...REASONS)(reason, 'reason'), text(detail, 'detail'));
  }
}
