import { basename } from 'node:path';
import type { ChainRules, ParentVerdict } from '../disk-chain/disk-chain.js';
import { isTemplate } from '../disk-chain/templates.js';
import { formatOfName } from './image-layout.plan.js';
import { isWithin } from './real-paths.js';

/** Disks of a VM folder may be based on files of the same folder, whose names indicate their formats, and on templates. */
export class ImageRules implements ChainRules {
  /** @param folder its real path; @param templates see isTemplate */
  constructor(
    private readonly folder: string,
    private readonly templates: readonly string[],
  ) {}

  async parent(realPath: string): Promise<ParentVerdict> {
    if (await isTemplate(realPath, this.templates)) return { format: 'by header' };
    if (!isWithin(realPath, [this.folder])) {
      return { refusal: "is neither in the folder of the VM nor one of the node's image_templates." };
    }
    const format = formatOfName(basename(realPath));
    return format === null ? { refusal: 'has a name that does not indicate its format; it must end in .qcow2, .raw or .img.' } : { format };
  }
}
