import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** When a program is killed, seen from the tool that it calls. `during`: shortly after the tool's start, so that the call is under way at whom the tool asks. */
export type KillMoment = 'before' | 'during' | 'after';

/** Tools whose calls are the steps of a node. */
const TOOLS = ['virsh', 'qemu-img', 'qemu-nbd', 'nbdinfo', 'nbdcopy', 'nbdkit'];

/**
 * Puts tools before the real ones in PATH that kill the program which calls them with -9, at one certain call. Between any two steps of a program like the node there is
 * the call of a tool, so whoever goes through all calls has killed it at every step.
 */
export class KillAtCall {
  private constructor(private readonly folder: string) {}

  /** @param folder of its own; is made @param path where the real tools are */
  static async create(folder: string, path: string): Promise<KillAtCall> {
    await mkdir(folder);
    const killer = new KillAtCall(folder);
    for (const tool of TOOLS) {
      const real = (await run('which', [tool], { env: { PATH: path } })).stdout.trim();
      await writeFile(join(folder, tool), script(folder, real), { mode: 0o755 });
    }
    return killer;
  }

  get path(): string {
    return this.folder;
  }

  /**
   * From now on the calls of this program are counted, and it is killed at the one with this number, from 1; 0: never. Programs that come after it are not touched.
   * @param words only calls that have these among their arguments are counted
   */
  async arm(pid: number, call: number, moment: KillMoment, words = ''): Promise<void> {
    await this.disarm();
    await writeFile(join(this.folder, 'words'), words);
    await writeFile(join(this.folder, 'armed'), `${pid} ${call} ${moment}\n`);
  }

  /** @returns the calls that were counted, in order, and whether the program was killed */
  async disarm(): Promise<{ readonly calls: readonly string[]; readonly killed: boolean }> {
    await rm(join(this.folder, 'armed'), { force: true });
    const calls = (await readFile(join(this.folder, 'calls'), 'utf8').catch(() => '')).split('\n').filter((line) => line !== '');
    const killed = (await readFile(join(this.folder, 'killed'), 'utf8').catch(() => null)) !== null;
    for (const file of ['calls', 'killed', 'count']) await rm(join(this.folder, file), { force: true });
    return { calls, killed };
  }
}

/** A supervised tool is called by a shell of the program's, and goes on without the program. */
function script(folder: string, real: string): string {
  return `#!/bin/sh
[ -e '${folder}/armed' ] || exec '${real}' "$@"
read -r victim call moment <'${folder}/armed' || exec '${real}' "$@"
read -r _ _ _ above _ </proc/$PPID/stat || above=0
[ "$PPID" = "$victim" ] || [ "$above" = "$victim" ] || exec '${real}' "$@"
words=$(cat '${folder}/words')
case "$*" in *"$words"*) ;; *) exec '${real}' "$@" ;; esac
exec 9>'${folder}/lock'
flock 9
count=0
[ ! -e '${folder}/count' ] || read -r count <'${folder}/count'
count=$((count + 1))
echo "$count" >'${folder}/count'
printf '%s\\n' "$count \${0##*/} $*" | tr -s '\\n' ' ' >>'${folder}/calls'
echo >>'${folder}/calls'
exec 9>&-
[ "$count" = "$call" ] || exec '${real}' "$@"
: >'${folder}/killed'
case $moment in
  before) kill -KILL "$victim"; [ "$PPID" != "$victim" ] || exit 1; exec '${real}' "$@" ;;
  during) { sleep 0.03; kill -KILL "$victim"; } & exec '${real}' "$@" ;;
  after) '${real}' "$@"; code=$?; kill -KILL "$victim"; exit "$code" ;;
esac
`;
}
