import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface BootKit {
  readonly kernel: string;
  readonly initrd: string;
}

/**
 * Debian's cloud kernel, which has NVMe and ext4 built in, and an initrd of a static busybox that runs `script` as its first program.
 * @returns null with the reason printed where the packages can neither be found nor downloaded; an error with CI=true
 */
export async function makeBootKit(directory: string, script: string): Promise<BootKit | null> {
  try {
    await mkdir(directory, { recursive: true });
    const kernel = await findKernel(directory);
    const busybox = await findBusybox(directory);
    const root = join(directory, 'root');
    for (const folder of ['bin', 'proc', 'dev', 'mnt']) await mkdir(join(root, folder), { recursive: true });
    await copyFile(busybox, join(root, 'bin/busybox'));
    await writeFile(join(root, 'init'), `#!/bin/busybox sh\n${script}\n`);
    await chmod(join(root, 'init'), 0o755);
    const initrd = join(directory, 'initrd');
    await writeFile(initrd, await packNewc(root));
    return { kernel, initrd };
  } catch (error) {
    if (process.env['CI'] === 'true') throw error;
    process.stderr.write(
      `skipped: booting needs the packages linux-image-cloud-amd64 and busybox-static (${error instanceof Error ? String(error.message.split('\n')[0]) : ''})\n`,
    );
    return null;
  }
}

async function findKernel(directory: string): Promise<string> {
  const installed = (await readdir('/boot').catch(() => [])).filter((name) => /^vmlinuz-.*cloud-amd64$/.test(name)).sort();
  const newest = installed.at(-1);
  if (newest !== undefined) return join('/boot', newest);
  const { stdout } = await run('apt-cache', ['depends', '--important', 'linux-image-cloud-amd64']);
  const name = /Depends: (linux-image-\S+)/.exec(stdout)?.[1];
  if (name === undefined) throw new Error('no kernel package');
  const folder = await unpack(name, directory);
  const kernel = (await readdir(join(folder, 'boot'))).find((file) => file.startsWith('vmlinuz-'));
  if (kernel === undefined) throw new Error('no kernel in its package');
  return join(folder, 'boot', kernel);
}

async function findBusybox(directory: string): Promise<string> {
  return join(await unpack('busybox-static', directory), 'bin/busybox');
}

async function unpack(name: string, directory: string): Promise<string> {
  const folder = join(directory, name);
  await mkdir(folder);
  await run('apt-get', ['download', name], { cwd: directory, timeout: 60_000 });
  const file = (await readdir(directory)).find((each) => each.startsWith(`${name}_`) && each.endsWith('.deb'));
  if (file === undefined) throw new Error(`${name} was not downloaded`);
  await run('dpkg', ['-x', join(directory, file), folder]);
  return folder;
}

/** The folder in cpio's newc format, as the kernel takes it. */
async function packNewc(root: string): Promise<Buffer> {
  const parts: Buffer[] = [];
  const pad = (bytes: number): Buffer => Buffer.alloc((4 - (bytes % 4)) % 4);
  const add = (name: string, mode: number, content: Buffer, number: number): void => {
    const header = [number, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length + 1, 0].map((value) => value.toString(16).padStart(8, '0')).join('');
    const head = Buffer.from(`070701${header}${name}\0`, 'latin1');
    parts.push(head, pad(head.length), content, pad(content.length));
  };
  const names = (await readdir(root, { recursive: true })).sort();
  for (const [index, name] of names.entries()) {
    const found = await stat(join(root, name));
    add(name, found.mode, found.isDirectory() ? Buffer.alloc(0) : await readFile(join(root, name)), index + 1);
  }
  add('TRAILER!!!', 0, Buffer.alloc(0), 0);
  return Buffer.concat(parts);
}
