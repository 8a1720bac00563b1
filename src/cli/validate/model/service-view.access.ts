import { constants } from 'node:fs';
import { access, readFile, readlink } from 'node:fs/promises';
import { CAP_DAC_OVERRIDE, hasCapability } from '../../../lib/process/capabilities.js';
import { runningProgram } from '../../../lib/process/program-lock.js';
import { runTool } from '../../../lib/process/run-tool.js';
import type { Role } from './check.plan.js';

/**
 * A service's view of the machine. Root may do everything, so root's own access says nothing about the service: as root, access is tried as the service's user,
 * with the groups and in the mount namespace of the running service. Any other user tries it as itself.
 */
export class ServiceView {
  private constructor(
    /** Of the service; null: it is not running. */
    readonly pid: number | null,
    private readonly inItsPlace: readonly string[],
    private readonly asItsUser: readonly string[],
    /** With CAP_DAC_OVERRIDE, file permissions do not apply to the service. */
    private readonly passesOverFileModes: boolean,
  ) {}

  static async of(dataDirectory: string, role: Role): Promise<ServiceView> {
    const pid = runningProgram(dataDirectory, role)?.pid ?? null;
    if (pid === null || process.getuid?.() !== 0) return new ServiceView(pid, [], [], false);
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
    // Real, effective, saved and file system id.
    const [, uid = '0'] = /^Uid:\s+\d+\s+(\d+)/m.exec(status) ?? [];
    const [, gid = '0'] = /^Gid:\s+\d+\s+(\d+)/m.exec(status) ?? [];
    const groups = (/^Groups:(.*)$/m.exec(status)?.[1] ?? '').trim().split(/\s+/).filter(Boolean);
    const elsewhere = (await namespaceOf(pid)) !== (await namespaceOf(process.pid));
    const user = ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, groups.length === 0 ? '--clear-groups' : `--groups=${groups.join(',')}`, '--'];
    return new ServiceView(
      pid,
      elsewhere ? ['nsenter', `--mount=/proc/${pid}/ns/mnt`, '--'] : [],
      uid === '0' ? [] : user,
      hasCapability(status, CAP_DAC_OVERRIDE),
    );
  }

  /** The command line that runs a tool as the service would run it. */
  argv(tool: string, ...rest: readonly string[]): readonly [string, ...string[]] {
    return commandLine([...this.inItsPlace, ...this.asItsUser, tool, ...rest]);
  }

  /** Whether the service can list the directory, and with `write` also create files in it. */
  async mayUse(folder: string, needed: 'read' | 'write'): Promise<boolean> {
    const user = this.passesOverFileModes ? [] : this.asItsUser;
    if (this.inItsPlace.length + user.length === 0) {
      return access(folder, constants.R_OK | constants.X_OK | (needed === 'write' ? constants.W_OK : 0)).then(
        () => true,
        () => false,
      );
    }
    const test = ['test', '-r', folder, '-a', '-x', folder, ...(needed === 'write' ? ['-a', '-w', folder] : [])];
    const { exitCode } = await runTool(commandLine([...this.inItsPlace, ...user, ...test]), { expectedExitCodes: [0, 1] });
    return exitCode === 0;
  }
}

/** @param words at least one */
function commandLine(words: readonly string[]): readonly [string, ...string[]] {
  const [first, ...others] = words;
  if (first === undefined) throw new RangeError('a command line without a word');
  return [first, ...others];
}

async function namespaceOf(pid: number): Promise<string> {
  return readlink(`/proc/${pid}/ns/mnt`).catch(() => '');
}
