import { existsSync } from 'node:fs';
import { join, normalize } from 'node:path';
import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { DataSource, Not } from 'typeorm';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { mountTable } from '../../../../lib/files/mount-table.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { repeat, type Repetition } from '../../../../lib/process/repeat.js';
import { retry } from '../../../../lib/concurrency/retry.js';
import { errnoOf } from '../../../../lib/process/system-error.js';
import { MountHelperClient } from '../../../../storage/share-mounts/mount-helper.client.js';
import type { MountHelper } from '../../../../storage/share-mounts/mount-helper.port.js';
import { mountProblem } from '../../../../storage/share-mounts/mount-requirement.plan.js';
import { ShareMounter } from '../../../../storage/share-mounts/share-mounter.js';
import { HubConfig } from '../../../hub.config.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { StorageWorkers } from '../../repository-storage/storage-workers.js';
import type { RepositoryLocation, RequestedLocation } from './repository.events.js';

const LOOK_MS = 5_000;
const FIRST_RETRY_MS = 2_000;
const LONGEST_RETRY_MS = 60_000;

/**
 * Keeps the shares of repositories mounted, and nothing else: a share that is not mounted is mounted, with back-off; one with a stale handle is mounted again; one
 * that belongs to no repository is unmounted. Whether what is mounted is the repository, its users see by its marker.
 */
@Injectable()
export class ShareMounts implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = loggerFor('ShareMounts');
  private readonly helper: MountHelper;
  /** Mounted for requests that have not ended, by name of the mount point. */
  private readonly held = new Set<string>();
  /** Released since the last look began. */
  private readonly released = new Set<string>();
  private readonly mounting = new Map<string, AbortController>();
  private looks: Repetition | null = null;
  private looking: Promise<void> = Promise.resolve();
  /** After a crash, shares may be mounted that belong to no repository. */
  private mayHoldOthers = true;

  constructor(
    config: HubConfig,
    private readonly dataSource: DataSource,
    private readonly readModels: ReadModels,
    private readonly workers: StorageWorkers,
  ) {
    const { mountHelperSocket: socket, dataDirectory } = config;
    const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
    const directories = { directory: join(dataDirectory, 'mounts'), credentialsDirectory: join(dataDirectory, 'mount-credentials') };
    const own = uid === 0 && !existsSync(socket);
    this.helper = own ? new ShareMounter({ ...directories, uid, gid }, this.log) : new MountHelperClient(socket);
  }

  onApplicationBootstrap(): void {
    this.look();
    this.looks = repeat(
      () => LOOK_MS,
      () => this.look(),
    );
  }

  onModuleDestroy(): void {
    this.looks?.stop();
    for (const attempt of this.mounting.values()) attempt.abort(new Error('the hub is shutting down'));
  }

  /**
   * Makes a location reachable while work runs. A share stays mounted afterwards if it belongs to a repository by then.
   * @param name of the mount point of a share: the id of its repository, or any other UUID
   * @throws DomainError share_not_mounted, and errors of the work
   */
  async whileReachable<Result>(name: string, requested: RequestedLocation, work: (location: RepositoryLocation) => Promise<Result>): Promise<Result> {
    if (requested.type === 'local') return work(requested);
    this.held.add(name);
    try {
      const { path } = await this.helper.mount(name, requested);
      return await work({ ...requested, path });
    } finally {
      this.mayHoldOthers = true;
      this.released.add(name);
      this.held.delete(name);
    }
  }

  private look(): void {
    this.looking = this.looking.then(() => this.lookNow()).catch((error: unknown) => this.log.warn('could not look after the shares', { error }));
  }

  private async lookNow(): Promise<void> {
    this.released.clear();
    await this.readModels.current('repositories');
    const shares = await this.dataSource.getRepository(RepositoryReadModel).findBy({ type: Not('local') });
    const table = await mountTable();
    // At once, because one of them may not answer for a while.
    await Promise.all(
      shares.map(async ({ repository_id, path, location }) => {
        if (location === null || location.type === 'local' || this.mounting.has(repository_id)) return;
        const missing = mountProblem(location, path, table) !== null;
        if (missing || (await this.isStale(path))) this.keepMounting(repository_id, location, !missing);
      }),
    );
    for (const [name, attempt] of this.mounting) {
      if (!shares.some(({ repository_id }) => repository_id === name)) attempt.abort(new Error('the repository was deleted'));
    }
    if (shares.length > 0 || this.mayHoldOthers) await this.unmountOthers(new Set(shares.map(({ repository_id }) => repository_id)));
  }

  private async unmountOthers(known: ReadonlySet<string>): Promise<void> {
    if (this.helper instanceof MountHelperClient && known.size === 0 && !this.helper.mayBeThere()) return;
    const { mounted } = await this.helper.status();
    const others = mounted.filter((name) => !known.has(name) && !this.held.has(name) && !this.released.has(name));
    for (const name of others) await this.helper.unmount(name);
    if (this.held.size === 0 && this.released.size === 0) this.mayHoldOthers = false;
  }

  private keepMounting(name: string, share: Extract<RepositoryLocation, { readonly type: 'nfs' | 'cifs' }>, stale: boolean): void {
    const attempt = new AbortController();
    this.mounting.set(name, attempt);
    const { signal } = attempt;
    const work = async (): Promise<void> => {
      if (stale) await this.helper.unmount(name);
      await this.helper.mount(name, share);
    };
    const onFailure = (error: unknown): void => this.log.warn('the share of a repository is not mounted', { repository_id: name, error });
    retry(work, { signal, firstMs: FIRST_RETRY_MS, longestMs: LONGEST_RETRY_MS, onFailure })
      .catch(() => undefined)
      .finally(() => this.mounting.delete(name));
  }

  private async isStale(path: string): Promise<boolean> {
    return this.workers
      .at(path)
      .stat(path)
      .then(
        () => false,
        (error: unknown) => errnoOf(error) === 'ESTALE',
      );
  }
}

/** With the path of a folder in the form in which it is compared and stored. */
export function normalized(requested: RequestedLocation): RequestedLocation {
  return requested.type === 'local' ? { ...requested, path: normalize(requested.path).replace(/(?<=.)\/+$/, '') } : requested;
}
