import { runTool } from '../../../lib/process/run-tool.js';
import { ToolError } from '../../../lib/process/tool-error.js';
import { type Check, fail, type Role, type Verdict, warn, worst } from '../model/check.plan.js';

interface Program {
  readonly argv: readonly [string, ...string[]];
  readonly debianPackage: string;
  /** Features that need the program; unset: everything does. */
  readonly optionalFor?: string;
  /** Major and minor number of the oldest tested version. */
  readonly triedFrom?: readonly [number, number];
}

const QEMU: readonly [number, number] = [7, 2];
const LIBNBD: readonly [number, number] = [1, 14];

const IMAGES: readonly Program[] = [
  { argv: ['qemu-img', '--version'], debianPackage: 'qemu-utils', triedFrom: QEMU },
  { argv: ['qemu-nbd', '--version'], debianPackage: 'qemu-utils', triedFrom: QEMU },
  { argv: ['nbdcopy', '--version'], debianPackage: 'libnbd-bin', triedFrom: LIBNBD },
  { argv: ['nbdinfo', '--version'], debianPackage: 'libnbd-bin', triedFrom: LIBNBD },
];

const HUB: readonly Program[] = [
  ...IMAGES,
  { argv: ['qemu-storage-daemon', '--version'], debianPackage: 'qemu-system-common', optionalFor: 'browsing files with mount_driver fuse', triedFrom: QEMU },
  { argv: ['losetup', '--version'], debianPackage: 'mount', optionalFor: 'browsing files' },
  { argv: ['sfdisk', '--version'], debianPackage: 'fdisk', optionalFor: 'browsing files' },
];

const NODE: readonly Program[] = [...IMAGES, { argv: ['nbdkit', '--version'], debianPackage: 'nbdkit', triedFrom: [1, 32] }];
const VIRSH: Program = { argv: ['virsh', '--version'], debianPackage: 'libvirt-clients', triedFrom: [9, 0] };
const SSH: Program = { argv: ['ssh', '-V'], debianPackage: 'openssh-client', triedFrom: [9, 2] };

/** Whether the required programs can be run, and are not older than the tested versions. */
export function programsCheck(role: Role, uses: { readonly libvirt: boolean; readonly tunnel: boolean }): Check {
  const programs = role === 'hub' ? HUB : [...NODE, ...(uses.libvirt ? [VIRSH] : []), ...(uses.tunnel ? [SSH] : [])];
  return {
    id: `${role}_programs`,
    role,
    title: 'programs and their versions',
    run: async () => {
      const looked = await Promise.all(programs.map(async (program) => ({ program, ...(await look(program)) })));
      return worst(
        looked.flatMap(({ finding }) => finding ?? []),
        looked.map(({ program, version }) => `${program.argv[0]} ${version}`).join(', '),
      );
    },
  };
}

async function look(program: Program): Promise<{ readonly version: string; readonly finding: Verdict | null }> {
  const [name] = program.argv;
  try {
    const { stdout, stderr } = await runTool(program.argv, { deadlineMs: 15_000 });
    const [version = '', major = '', minor = ''] = /(\d+)\.(\d+)(\.\d+)?/.exec(stdout + stderr) ?? [];
    const { triedFrom } = program;
    const isOld = triedFrom !== undefined && (Number(major) < triedFrom[0] || (Number(major) === triedFrom[0] && Number(minor) < triedFrom[1]));
    if (version !== '' && !isOld) return { version, finding: null };
    const detail =
      version === '' ? `${name} does not report its version` : `${name} ${version} is older than ${triedFrom?.join('.') ?? 'the required version'}`;
    return {
      version,
      finding: warn(detail, `Tested with ${triedFrom?.join('.') ?? 'newer versions'} and later: upgrade ${program.debianPackage}.`),
    };
  } catch (error) {
    if (!(error instanceof ToolError)) throw error;
    const missing = error.code === 'tool_missing' ? `${name} is not on the PATH` : error.message;
    const remedy = `Install it (Debian: apt-get install ${program.debianPackage}), and check that it is on the service's PATH.`;
    if (program.optionalFor === undefined) return { version: '', finding: fail(missing, remedy) };
    return { version: '', finding: warn(`${missing}, which is needed for ${program.optionalFor}`, remedy) };
  }
}
