import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const V1 = '/sys/fs/cgroup/cpuacct';
const V2 = '/sys/fs/cgroup';

/** Counts the processor time of programs, and of all that they start, in a control group. Needs root. */
export class ProcessorTime {
  private constructor(
    private readonly folder: string,
    private readonly version: 1 | 2,
  ) {}

  /** @param name of the group, nobody else's @throws Error where no group can be made */
  static create(name: string): ProcessorTime {
    const version = existsSync(V1) ? 1 : 2;
    const folder = join(version === 1 ? V1 : V2, name);
    mkdirSync(folder);
    return new ProcessorTime(folder, version);
  }

  /** From now on; what they started before is counted only where it is named too. */
  count(pids: readonly number[]): void {
    for (const pid of pids) writeFileSync(join(this.folder, 'cgroup.procs'), String(pid));
  }

  /** Of all so far, user and system, in seconds. */
  get seconds(): number {
    if (this.version === 1) return Number(readFileSync(join(this.folder, 'cpuacct.usage'), 'utf8')) / 1e9;
    return Number(/^usage_usec (\d+)$/m.exec(readFileSync(join(this.folder, 'cpu.stat'), 'utf8'))?.[1]) / 1e6;
  }

  /** When all have ended. */
  remove(): void {
    rmdirSync(this.folder);
  }
}
