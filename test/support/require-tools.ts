import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { describe, it } from '@jest/globals';

export interface GatedTests {
  readonly describe: typeof describe | typeof describe.skip;
  readonly it: typeof it | typeof it.skip;
  /** Why the tests are skipped; null when they run. */
  readonly skipped: string | null;
}

/** Whether a program of this name can be found and executed through PATH. */
export function hasTool(name: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * `describe` and `it` for tests that need these programs. Where one is missing they skip and the reason is printed; with CI=true that is an error, because a
 * gate that skips proves nothing.
 */
export function requireTools(...names: readonly string[]): GatedTests {
  const missing = names.filter((name) => !hasTool(name));
  return gate(missing.length === 0 ? null : `not on PATH: ${missing.join(', ')} (installed by CI=true bin/setup)`);
}

/** The same for any other condition of the machine, e.g. that the tests run as root. */
export function requireCondition(holds: boolean, reason: string): GatedTests {
  return gate(holds ? null : reason);
}

/** Gates for tests that mount a file system of their own. */
export function requireLoopMounts(): GatedTests {
  return requireCondition(
    process.getuid?.() === 0 && hasTool('losetup') && hasTool('mkfs.ext4'),
    'mounting a small file system needs root, losetup and mkfs.ext4',
  );
}

/**
 * For what only another kernel or server could do: no installation mends that, so it is skipped also with CI=true, and always says so.
 * @param reason why not; null: it can
 */
export function requireKernel(reason: string | null): GatedTests {
  if (reason === null) return { describe, it, skipped: null };
  process.stderr.write(`skipped: ${reason}\n`);
  return { describe: describe.skip, it: it.skip, skipped: reason };
}

/** Tests on a real hypervisor with a libvirtd of their own (`LibvirtHost`). */
export function requireLibvirt(...tools: readonly string[]): GatedTests {
  const root = requireCondition(process.getuid?.() === 0, 'a libvirtd of its own needs a mount namespace of its own, which only root may make');
  return root.skipped === null ? requireTools('libvirtd', 'virsh', 'qemu-system-x86_64', 'qemu-img', 'qemu-io', 'unshare', ...tools) : root;
}

function gate(reason: string | null): GatedTests {
  if (reason !== null && process.env['CI'] === 'true') throw new Error(`CI must run every test, but this machine cannot: ${reason}`);
  return requireKernel(reason);
}
