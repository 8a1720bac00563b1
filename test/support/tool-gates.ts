import { chmod, mkdir, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { accessSync, constants } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { until } from './hub-system.js';

/** `nice` is what the node's own program for copies across a network starts through. */
const GATED = ['qemu-img', 'qemu-nbd', 'nbdcopy', 'nbdinfo', 'nice'] as const;

export type GatedTool = (typeof GATED)[number];

export interface Gate {
  /** Waits until a call has come to the gate and is held. */
  reached(): Promise<void>;
  /** Lets the held call, and all later ones, go on. */
  open(): Promise<void>;
}

/**
 * The real tools, each behind a door that a test can shut: `path` is the whole PATH of a hub and its node, so that a tool can be missing too. What a held call does
 * afterwards is done by the real tool, under the same pid.
 */
export class ToolGates {
  private next = 0;

  private constructor(private readonly directory: string) {}

  static async create(directory: string): Promise<ToolGates> {
    const gates = new ToolGates(directory);
    await mkdir(gates.path, { recursive: true });
    await mkdir(gates.doors);
    for (const tool of GATED) {
      await writeFile(join(gates.path, tool), doorkeeper(tool, gates.doors, found(tool)));
      await chmod(join(gates.path, tool), 0o755);
    }
    for (const folder of searchPath()) await linkTools(folder, gates.path);
    return gates;
  }

  get path(): string {
    return join(this.directory, 'tools');
  }

  /** Holds calls of the tool whose command line has this text. */
  async hold(tool: GatedTool, text: string): Promise<Gate> {
    return this.gateOf(`${tool} with "${text}"`, [await this.shut(tool, `hold\n${text}\n`)]);
  }

  /** Holds the copies of disks, whichever tool makes them; reached when one of them is held. */
  async holdCopies(): Promise<Gate> {
    const copies = [['nbdcopy', ''] as const, ['qemu-img', 'convert -p'] as const, ['nice', 'main.copy.js'] as const];
    return this.gateOf('what copies disks', await Promise.all(copies.map(([tool, text]) => this.shut(tool, `hold\n${text}\n`))));
  }

  /** Makes calls whose command line has this text fail at once. @returns what makes the tool whole again */
  async fail(tool: GatedTool, text: string, exitCode: number, message: string): Promise<() => Promise<void>> {
    const door = await this.shut(tool, `fail ${exitCode} ${message}\n${text}\n`);
    return () => rm(join(this.doors, door), { force: true });
  }

  /** Takes the tool out of PATH. @returns what puts it back */
  async remove(tool: GatedTool): Promise<() => Promise<void>> {
    const away = join(this.directory, `${tool}.away`);
    await rename(join(this.path, tool), away);
    return () => rename(away, join(this.path, tool));
  }

  /** After a test, whatever became of it: a gate that stays shut would hold up the next one. */
  async openAll(): Promise<void> {
    for (const door of await readdir(this.doors)) await rm(join(this.doors, door), { force: true });
  }

  private get doors(): string {
    return join(this.directory, 'doors');
  }

  private gateOf(what: string, doors: readonly string[]): Gate {
    return {
      reached: async () => {
        await until(`${what} to be called`, async () => (await readdir(this.doors)).some((name) => doors.some((door) => name === `${door}-reached`)));
      },
      open: async () => {
        for (const door of doors) await rm(join(this.doors, door), { force: true });
      },
    };
  }

  private async shut(tool: GatedTool, rule: string): Promise<string> {
    const door = `${tool}.${this.next++}`;
    const path = join(this.doors, door);
    // Complete before a tool can see it.
    await writeFile(join(this.directory, `${door}.new`), rule);
    await rename(join(this.directory, `${door}.new`), path);
    return door;
  }
}

function doorkeeper(tool: string, doors: string, real: string): string {
  return `#!/bin/sh
for door in '${doors}/${tool}'.*; do
  case "$door" in *-reached) continue ;; esac
  { read -r verb exit_code message && IFS= read -r text; } 2>/dev/null <"$door" || continue
  case "$*" in *"$text"*) ;; *) continue ;; esac
  if [ "$verb" = fail ]; then
    echo "$message" >&2
    exit "$exit_code"
  fi
  : >"$door-reached"
  while [ -e "$door" ]; do ${found('sleep')} 0.1; done
done
exec '${real}' "$@"
`;
}

/** All other programs as they are; the first folder that has one wins, as in PATH. */
async function linkTools(folder: string, target: string): Promise<void> {
  const taken = new Set(await readdir(target));
  const tools = await readdir(folder).catch(() => []);
  for (const tool of tools.filter((name) => !taken.has(name))) await symlink(join(folder, tool), join(target, tool));
}

function searchPath(): readonly string[] {
  return [...(process.env['PATH'] ?? '').split(delimiter).filter(isAbsolute), '/usr/sbin'];
}

function found(tool: string): string {
  for (const folder of searchPath()) {
    const path = join(folder, tool);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // The next folder may have it.
    }
  }
  throw new Error(`${tool} is not in PATH`);
}
