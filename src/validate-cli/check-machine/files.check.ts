import { constants } from 'node:fs';
import { access, stat, statfs } from 'node:fs/promises';
import { bytesText } from '../model/amounts.plan.js';
import { type Check, fail, pass, type Role, skip, type Verdict, warn, worst } from '../model/check.plan.js';

const SCARCE_BYTES = 1024 ** 3;
const TOO_SCARCE_BYTES = 128 * 1024 ** 2;

/** @param files that only their owner may read; those that are not there are left to other checks */
export function secretsCheck(role: Role, files: readonly string[]): Check {
  return {
    id: `${role}_secrets`,
    role,
    title: 'rights of tokens and keys',
    run: async () => {
      const findings: Verdict[] = [];
      const sound: string[] = [];
      for (const file of files) {
        const found = await stat(file).catch(() => null);
        if (found === null) continue;
        const mode = found.mode & 0o777;
        if ((mode & 0o077) === 0) sound.push(file);
        else {
          const text = `${file} has mode ${mode.toString(8).padStart(4, '0')}, so others than its owner can use what is in it`;
          findings.push(fail(text, `chmod 600 ${file}, and make a new secret: the old one may have been read.`));
        }
      }
      if (findings.length === 0 && sound.length === 0) return skip(`there is none yet: ${files.join(', ')}`);
      return worst(findings, `only the owner may use ${sound.join(', ')}`);
    },
  };
}

/** Room for journals, logs and the hub's own database. */
export function dataSpaceCheck(role: Role, dataDirectory: string): Check {
  return {
    id: `${role}_data_directory`,
    role,
    title: 'data directory',
    run: async () => {
      const found = await stat(dataDirectory).catch(() => null);
      if (found === null) return fail(`${dataDirectory} does not exist`, `Start the ${role} once, or set data_directory to the place that it uses.`);
      if (!found.isDirectory()) return fail(`${dataDirectory} is no directory`, 'Set data_directory to a directory.');
      if (!(await mayUse(dataDirectory)))
        return fail(`${dataDirectory} cannot be written to`, `Give it to the user that the ${role} runs as, and run this check as that user.`);
      const { bavail, bsize } = await statfs(dataDirectory);
      const free = bavail * bsize;
      const text = `${dataDirectory} has ${bytesText(free)} free`;
      if (free < TOO_SCARCE_BYTES) return fail(text, 'Free space now: with a full data directory nothing can be recorded.');
      if (free < SCARCE_BYTES) return warn(text, 'Free space: with a full data directory nothing can be recorded.');
      return pass(text);
    },
  };
}

/** Folders that a node reads from or writes to. */
export function foldersCheck(check: {
  readonly id: string;
  readonly title: string;
  readonly setting: string;
  readonly folders: readonly string[];
  readonly needed: 'read' | 'write';
  /** Others than those of the node's own VMs are optional. */
  readonly missingIs: 'fail' | 'warn';
}): Check {
  const { id, title, setting, folders, needed, missingIs } = check;
  return {
    id,
    role: 'node',
    title,
    run: async () => {
      if (folders.length === 0) return skip(`${setting} is not used here`);
      const findings: Verdict[] = [];
      for (const folder of folders) {
        const found = await stat(folder).catch(() => null);
        const remedy = `Make it, or name the right folders in ${setting}.`;
        if (found?.isDirectory() !== true) {
          findings.push({ status: missingIs, detail: `${folder} is no folder of this machine`, remedy });
        } else if (!(await mayUse(folder, needed === 'write'))) {
          findings.push(fail(`${folder} cannot be ${needed === 'write' ? 'written to' : 'read'}`, 'Give the user that the node runs as the right to it.'));
        }
      }
      return worst(findings, folders.join(', '));
    },
  };
}

async function mayUse(folder: string, write = true): Promise<boolean> {
  return access(folder, constants.R_OK | constants.X_OK | (write ? constants.W_OK : 0)).then(
    () => true,
    () => false,
  );
}
