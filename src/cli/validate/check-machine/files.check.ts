import { stat, statfs } from 'node:fs/promises';
import { bytesText } from '../../../kernel/bytes-text.js';
import { type Check, fail, pass, type Role, skip, type Verdict, warn, worst } from '../model/check.plan.js';
import type { ServiceView } from '../model/service-view.access.js';

const SCARCE_BYTES = 1024 ** 3;
const TOO_SCARCE_BYTES = 128 * 1024 ** 2;
/** A backup creates some twenty files for each disk. */
const FEWEST_INODES = 1000;

/** @param files only their owner may read; missing files are left to other checks */
export function secretsCheck(role: Role, files: readonly string[]): Check {
  return {
    id: `${role}_secrets`,
    role,
    title: 'permissions of tokens and keys',
    run: async () => {
      const findings: Verdict[] = [];
      const sound: string[] = [];
      for (const file of files) {
        const found = await stat(file).catch(() => null);
        if (found === null) continue;
        const mode = found.mode & 0o777;
        if ((mode & 0o077) === 0) sound.push(file);
        else {
          const text = `${file} has mode ${mode.toString(8).padStart(4, '0')}, so other users can read the secret in it`;
          findings.push(fail(text, `chmod 600 ${file}, and create a new secret: the old one may have been read.`));
        }
      }
      if (findings.length === 0 && sound.length === 0) return skip(`no files yet: ${files.join(', ')}`);
      return worst(findings, `only the owner can access ${sound.join(', ')}`);
    },
  };
}

/** Room for journals, logs and the hub's own database. */
export function dataSpaceCheck(role: Role, dataDirectory: string, service: ServiceView): Check {
  return {
    id: `${role}_data_directory`,
    role,
    title: 'data directory',
    run: async () => {
      const found = await stat(dataDirectory).catch(() => null);
      if (found === null) return fail(`${dataDirectory} does not exist`, `Start the ${role} once, or set data_directory to the directory that it uses.`);
      if (!found.isDirectory()) return fail(`${dataDirectory} is not a directory`, 'Set data_directory to a directory.');
      if (!(await service.mayUse(dataDirectory, 'write'))) {
        const remedy = `Is it mounted read-only (findmnt -T ${dataDirectory})? Otherwise make the ${role}'s user its owner: chown -R USER ${dataDirectory}.`;
        return fail(`${dataDirectory} cannot be written to`, remedy);
      }
      const { bavail, bsize, files, ffree } = await statfs(dataDirectory);
      const free = bavail * bsize;
      const remedy = `Free space: when the data directory is full, nothing can be recorded. du -xh --max-depth=2 ${dataDirectory} | sort -h shows what uses it.`;
      // File systems that allocate inodes on demand report 0.
      if (files > 0 && ffree < FEWEST_INODES) {
        return fail(
          `${dataDirectory} has room for only ${ffree} more files: its inodes run out`,
          `Remove files, or create its file system with more inodes (df -i ${dataDirectory}).`,
        );
      }
      const text = `${dataDirectory} has ${bytesText(free)} free`;
      if (free < TOO_SCARCE_BYTES) return fail(text, remedy);
      if (free < SCARCE_BYTES) return warn(text, remedy);
      return pass(text);
    },
  };
}

/** Directories that a node reads from or writes to. */
export function foldersCheck(check: {
  readonly id: string;
  readonly title: string;
  readonly setting: string;
  readonly folders: readonly string[];
  readonly needed: 'read' | 'write';
  /** Only the directories of the node's own VMs are required. */
  readonly missingIs: 'fail' | 'warn';
  readonly service: ServiceView;
}): Check {
  const { id, title, setting, folders, needed, missingIs, service } = check;
  return {
    id,
    role: 'node',
    title,
    run: async () => {
      if (folders.length === 0) return skip(`${setting} is not used here`);
      const findings: Verdict[] = [];
      for (const folder of folders) {
        const found = await stat(folder).catch(() => null);
        const remedy = `Create it (install -d ${folder}), or name the right directories in ${setting}.`;
        if (found?.isDirectory() !== true) {
          findings.push({ status: missingIs, detail: `${folder} is not a directory on this machine`, remedy });
        } else if (!(await service.mayUse(folder, needed))) {
          findings.push(fail(`${folder} cannot be ${needed === 'write' ? 'written to' : 'read'} by the node`, rightsRemedy(folder, needed)));
        }
      }
      return worst(findings, folders.join(', '));
    },
  };
}

function rightsRemedy(folder: string, needed: 'read' | 'write'): string {
  const rights = needed === 'write' ? 'rwX' : 'rX';
  return (
    `Is it mounted read-only (findmnt -T ${folder})? Give the node's user access to it (setfacl -m u:USER:${rights} ${folder}), ` +
    `and add it to the unit: ReadWritePaths=${folder} in a drop-in (systemctl edit sendense-node).`
  );
}
