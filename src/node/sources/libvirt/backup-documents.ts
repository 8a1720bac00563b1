import { join } from 'node:path';
import { xmlText } from '../../../lib/libvirt/domain-xml.js';

export interface BackupDocument {
  readonly socket: string;
  readonly scratchDirectory: string;
  /** All disks of the domain: libvirt takes every one that is not named as one to be backed up. */
  readonly targets: readonly string[];
  readonly disks: readonly { readonly target: string; readonly incrementalFrom: string | null }[];
}

/** The request of a pull backup: an export per disk, named as its target, with a bitmap `backup-<target>` of what has changed where there is a checkpoint to start from. */
export function backupXml(backup: BackupDocument): string {
  const disks = backup.targets.map((target) => {
    const disk = backup.disks.find((one) => one.target === target);
    if (disk === undefined) return `<disk name="${xmlText(target)}" backup="no"/>`;
    const mode = disk.incrementalFrom === null ? 'backupmode="full"' : `backupmode="incremental" incremental="${xmlText(disk.incrementalFrom)}"`;
    const scratch = join(backup.scratchDirectory, scratchFile(target));
    return `<disk name="${xmlText(target)}" backup="yes" type="file" ${mode}><driver type="qcow2"/><scratch file="${xmlText(scratch)}"/></disk>`;
  });
  return `<domainbackup mode="pull"><server transport="unix" socket="${xmlText(backup.socket)}"/><disks>${disks.join('')}</disks></domainbackup>`;
}

/** Targets are made by libvirt's rules (`vda`), and are checked here all the same: one becomes a file name. */
export function scratchFile(target: string): string {
  return `${encodeURIComponent(target)}.scratch`;
}

export interface CheckpointDocument {
  readonly name: string;
  /** All disks of the domain. */
  readonly targets: readonly string[];
  /** Those whose changes are recorded from now on. */
  readonly tracked: readonly string[];
}

export function checkpointXml(checkpoint: CheckpointDocument): string {
  const disks = checkpoint.targets.map((target) =>
    checkpoint.tracked.includes(target)
      ? `<disk name="${xmlText(target)}" checkpoint="bitmap" bitmap="${xmlText(checkpoint.name)}"/>`
      : `<disk name="${xmlText(target)}" checkpoint="no"/>`,
  );
  return `<domaincheckpoint><name>${xmlText(checkpoint.name)}</name><disks>${disks.join('')}</disks></domaincheckpoint>`;
}

/** For a checkpoint that libvirt is only to be told of. @param createdAt seconds since 1970; @param domainXml of the domain without its running state */
export function redefinitionXml(checkpoint: CheckpointDocument, parent: string | null, createdAt: number, domainXml: string): string {
  const parentXml = parent === null ? '' : `<parent><name>${xmlText(parent)}</name></parent>`;
  const head = `<domaincheckpoint><name>${xmlText(checkpoint.name)}</name>${parentXml}<creationTime>${createdAt}</creationTime>`;
  const disks = checkpoint.tracked.map((target) => `<disk name="${xmlText(target)}" checkpoint="bitmap" bitmap="${xmlText(checkpoint.name)}"/>`);
  return `${head}<disks>${disks.join('')}</disks>${domainXml.replace(/^\s*<\?xml[^>]*\?>/, '')}</domaincheckpoint>`;
}
