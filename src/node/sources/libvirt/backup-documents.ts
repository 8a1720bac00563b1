import { join } from 'node:path';
import { xmlText } from '../../../lib/libvirt/domain-xml.js';

export interface BackupDocument {
  readonly socket: string;
  readonly scratchDirectory: string;
  /** All disks of the domain, because libvirt backs up every disk that is not named. */
  readonly targets: readonly string[];
  readonly disks: readonly { readonly target: string; readonly incrementalFrom: string | null }[];
}

/**
 * The request of a pull backup: one export per disk, named as its target, with a bitmap `backup-<target>` of the changes if there is a checkpoint to start
 * from.
 */
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

/** libvirt restricts targets (`vda`), but one becomes a file name, so it is checked again. */
export function scratchFile(target: string): string {
  return `${encodeURIComponent(target)}.scratch`;
}

export interface CheckpointDocument {
  readonly name: string;
  /** All disks of the domain. */
  readonly targets: readonly string[];
  /** Disks whose changes are recorded from now on. */
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

/** Registers a checkpoint with libvirt without creating it. @param createdAt seconds since 1970; @param domainXml of the domain without its running state */
export function redefinitionXml(checkpoint: CheckpointDocument, parent: string | null, createdAt: number, domainXml: string): string {
  const parentXml = parent === null ? '' : `<parent><name>${xmlText(parent)}</name></parent>`;
  const head = `<domaincheckpoint><name>${xmlText(checkpoint.name)}</name>${parentXml}<creationTime>${createdAt}</creationTime>`;
  const disks = checkpoint.tracked.map((target) => `<disk name="${xmlText(target)}" checkpoint="bitmap" bitmap="${xmlText(checkpoint.name)}"/>`);
  return `${head}<disks>${disks.join('')}</disks>${domainXml.replace(/^\s*<\?xml[^>]*\?>/, '')}</domaincheckpoint>`;
}
