import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import type { MountRequirement } from '../../../../storage/share-mounts/mount-requirement.plan.js';
import { RequiredMounts } from '../../repository-storage/required-mounts.js';

/** Looks up what has to be mounted at the paths of repositories, from the time when the hub's parts have been made. */
@Injectable()
export class RequiredMountsReader {
  constructor(
    private readonly dataSource: DataSource,
    mounts: RequiredMounts,
  ) {
    mounts.lookUpBy((path) => this.at(path));
  }

  private async at(path: string): Promise<MountRequirement | null> {
    const location = (await this.dataSource.getRepository(RepositoryReadModel).findOneBy({ path }))?.location ?? null;
    if (location === null) return null;
    if (location.type !== 'local') return location;
    return location.require_mount ? { type: 'any' } : null;
  }
}
