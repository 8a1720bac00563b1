import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
/** Bits a second, as nbdkit's rate filter reads them. */
const UNLIMITED = '1T';

/** Puts tools that copy disks before the real ones in PATH, at a rate which a test sets, so that there is time for anything to happen in mid-transfer. */
export class SlowCopies {
  private constructor(private readonly folder: string) {}

  /** @param folder of its own; is made */
  static async create(folder: string): Promise<SlowCopies> {
    await mkdir(folder);
    const copies = new SlowCopies(folder);
    const real = (await run('which', ['nbdcopy'])).stdout.trim();
    // The pid of a copy is that of the real program.
    const script = `#!/bin/sh
read -r rate <'${copies.rateFile}' || true
[ "$rate" != ${UNLIMITED} ] || exec '${real}' "$@"
left=$#
inside=0
while [ "$left" -gt 0 ]; do
  argument=$1
  shift
  left=$((left - 1))
  case $argument in
    '[') inside=1; set -- "$@" '[' ;;
    ']') set -- "$@" "rate=$rate" "rate-file=${copies.rateFile}" ']' ;;
    nbdkit) set -- "$@" nbdkit --filter=rate ;;
    *)
      if [ "$left" = 1 ] && [ "$inside" = 0 ]; then
        set -- "$@" '[' nbdkit --exit-with-parent -r --filter=rate nbd "uri=$argument" "rate=$rate" "rate-file=${copies.rateFile}" ']'
      else
        set -- "$@" "$argument"
      fi
      ;;
  esac
done
exec '${real}' "$@"
`;
    await writeFile(join(folder, 'nbdcopy'), script, { mode: 0o755 });
    await copies.slowConversions();
    await copies.limit(null);
    return copies;
  }

  /** The PATH in which the copies of a hub and its node can be slowed. */
  get path(): string {
    return `${this.folder}:${process.env['PATH'] ?? ''}`;
  }

  /** From now on each copy moves about so many bytes a second, also those under way; null: as fast as it can. */
  async limit(bytesPerSecond: number | null): Promise<void> {
    await writeFile(this.rateFile, bytesPerSecond === null ? UNLIMITED : String(bytesPerSecond * 8));
  }

  /** What a qemu-img that copies a disk writes goes through a server that takes it at the rate. */
  private async slowConversions(): Promise<void> {
    const real = (await run('which', ['qemu-img'])).stdout.trim();
    const script = `#!/bin/sh
case "$*" in 'convert -p '*) ;; *) exec '${real}' "$@" ;; esac
read -r rate <'${this.rateFile}' || true
[ "$rate" != ${UNLIMITED} ] || exec '${real}' "$@"
left=$#
while [ "$left" -gt 1 ]; do
  argument=$1
  shift
  left=$((left - 1))
  set -- "$@" "$argument"
done
target=$1
shift
socket='${this.folder}'/$$.sock
nbdkit -f --exit-with-parent -U "$socket" --filter=rate nbd "uri=$target" "rate=$rate" "rate-file=${this.rateFile}" &
while [ ! -S "$socket" ]; do sleep 0.02; done
exec '${real}' "$@" "nbd+unix:///?socket=$socket"
`;
    await writeFile(join(this.folder, 'qemu-img'), script, { mode: 0o755 });
  }

  private get rateFile(): string {
    return join(this.folder, 'rate');
  }
}
