import { Injectable } from '@nestjs/common';
import type { MountRequirement } from '../../../storage/share-mounts/mount-requirement.plan.js';

type Lookup = (repositoryPath: string) => Promise<MountRequirement | null>;

/** What has to be mounted at the paths of repositories. Their context says where to look that up. */
@Injectable()
export class RequiredMounts {
  private lookup: Lookup = () => Promise.resolve(null);

  lookUpBy(lookup: Lookup): void {
    this.lookup = lookup;
  }

  /** null: nothing, or no repository is there. */
  async at(repositoryPath: string): Promise<MountRequirement | null> {
    return this.lookup(repositoryPath);
  }
}
