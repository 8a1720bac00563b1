import { realpath } from 'node:fs/promises';
import type { DomainDescription, DomainDisk } from '../../../lib/libvirt/domain-xml.js';
import type { ChainRules, ParentVerdict } from '../disk-chain/disk-chain.js';
import { isTemplate } from '../disk-chain/templates.js';

interface NamedFile {
  readonly path: string;
  readonly format: string | null;
}

/**
 * Disks of a domain may be based on files that libvirt names as the domain's (in its definition, snapshots and checkpoints), in the format named there, and on
 * templates.
 */
export class DomainRules implements ChainRules {
  private readonly known: readonly NamedFile[];
  private snapshotFiles: Promise<readonly NamedFile[]> | null = null;

  /**
   * @param domains the current domain, and the domain at its checkpoints; earlier entries take precedence
   * @param snapshots the domain at its snapshots; queried if the others do not name a file
   * @param templates see isTemplate
   */
  constructor(
    domains: readonly DomainDescription[],
    private readonly snapshots: () => Promise<readonly DomainDescription[]>,
    private readonly templates: readonly string[],
  ) {
    this.known = domains.flatMap(filesOf);
  }

  async parent(realPath: string): Promise<ParentVerdict> {
    if (await isTemplate(realPath, this.templates)) return { format: 'by header' };
    const found = (await named(realPath, this.known)) ?? (await named(realPath, await this.ofSnapshots()));
    if (found === null) {
      return {
        refusal:
          "is neither named by libvirt as a file of this domain (in its definition, its snapshots or its checkpoints) nor one of the node's image_templates. If it is a template, add it there.",
      };
    }
    if (found.format !== 'qcow2' && found.format !== 'raw') return { refusal: `has format "${found.format}" in libvirt; only qcow2 and raw are read.` };
    return { format: found.format };
  }

  private ofSnapshots(): Promise<readonly NamedFile[]> {
    this.snapshotFiles ??= this.snapshots().then((domains) => domains.flatMap(filesOf));
    return this.snapshotFiles;
  }
}

function filesOf({ disks }: DomainDescription): readonly NamedFile[] {
  return disks.flatMap((disk: DomainDisk) => [...(disk.path === null ? [] : [{ path: disk.path, format: disk.format }]), ...disk.backing]);
}

/** A file without a named format must not be read. */
async function named(realPath: string, files: readonly NamedFile[]): Promise<{ readonly format: string } | null> {
  for (const { path, format } of files) {
    if (format !== null && (await realpath(path).catch(() => null)) === realPath) return { format };
  }
  return null;
}
