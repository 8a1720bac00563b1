import { execFile } from 'node:child_process';
import { access, chmod, copyFile, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface BootKit {
  readonly kernel: string;
  readonly initrd: string;
}

export interface BootKitExtras {
  /** Kernel modules by name, e.g. `virtio_blk`; what they need comes along. They lie in /modules, and load in the order of their names. */
  readonly modules?: readonly string[];
  /** Programs of this machine by path, with their libraries, at the same paths. */
  readonly programs?: readonly string[];
  /** Executable files by path. */
  readonly files?: Readonly<Record<string, string>>;
}

/**
 * Debian's cloud kernel, which has NVMe and ext4 built in, and an initrd of a static busybox that runs `script` as its first program.
 * @returns null with the reason printed where the packages can neither be found nor downloaded; an error with CI=true
 */
export async function makeBootKit(directory: string, script: string, extras: BootKitExtras = {}): Promise<BootKit | null> {
  try {
    await mkdir(directory, { recursive: true });
    const kernel = await findKernel(directory);
    const busybox = await findBusybox(directory);
    const root = join(directory, 'root');
    for (const folder of ['bin', 'proc', 'dev', 'mnt']) await mkdir(join(root, folder), { recursive: true });
    await copyFile(busybox, join(root, 'bin/busybox'));
    await writeProgram(join(root, 'init'), `#!/bin/busybox sh\n${script}\n`);
    await addModules(root, kernel, extras.modules ?? []);
    for (const program of extras.programs ?? []) await addProgram(root, program);
    for (const [path, content] of Object.entries(extras.files ?? {})) await writeProgram(join(root, path), content);
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

async function writeProgram(path: string, content: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
  await chmod(path, 0o755);
}

/** Modules lie beside the kernel: in the same package, or installed from it. */
async function addModules(root: string, kernel: string, names: readonly string[]): Promise<void> {
  if (names.length === 0) return;
  const version = basename(kernel).slice('vmlinuz-'.length);
  const folder = join(dirname(dirname(kernel)), 'lib/modules', version);
  const list = join(folder, 'modules.dep');
  // Made when the package is installed; not when it is only unpacked.
  if (!(await exists(list))) await run('depmod', ['-b', dirname(dirname(kernel)), version]);
  const needs = new Map<string, readonly string[]>();
  for (const line of (await readFile(list, 'utf8')).split('\n')) {
    const [path, rest] = line.split(':');
    if (path !== undefined && rest !== undefined) needs.set(path, rest.split(' ').filter(Boolean));
  }
  const paths = new Set<string>();
  for (const name of names) {
    const path = [...needs.keys()].find((each) => basename(each) === `${name}.ko`);
    if (path === undefined) throw new Error(`the kernel has no module ${name}`);
    // modules.dep lists all that a module needs, the innermost last.
    for (const each of [...(needs.get(path) ?? [])].reverse()) paths.add(each);
    paths.add(path);
  }
  await mkdir(join(root, 'modules'), { recursive: true });
  for (const [index, path] of [...paths].entries()) {
    await copyFile(join(folder, path), join(root, 'modules', `${String(index).padStart(2, '0')}-${basename(path)}`));
  }
}

async function addProgram(root: string, program: string): Promise<void> {
  const { stdout } = await run('ldd', [program]);
  const libraries = [...stdout.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map((found) => found[1] ?? '');
  for (const path of [program, ...libraries]) {
    await mkdir(join(root, dirname(path)), { recursive: true });
    await copyFile(path, join(root, path));
    await chmod(join(root, path), 0o755);
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

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

async function findBusybox(directory: string): Promise<string> {
  // Only a static one runs without libraries, and the packages differ in nothing else that can be seen.
  if (await exists('/usr/share/doc/busybox-static')) return '/bin/busybox';
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
