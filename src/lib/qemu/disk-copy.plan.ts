import { imageFileName, type ImageChain } from './image-chain.plan.js';
import { keyArguments, nbdSource } from './nbd-source.plan.js';

export type DiskFormat = 'raw' | 'qcow2' | 'vmdk';

/**
 * qemu-img convert of a chain into one file, which is overwritten. Prints progress to standard output. Does not wait for the storage: callers that rely on the
 * file sync it first. The target's path is absolute.
 */
export function convertArgv(source: ImageChain, target: string, format: DiskFormat): readonly [string, ...string[]] {
  return ['qemu-img', 'convert', '-p', '-O', format, imageFileName(source), target];
}

/** Copies a QCOW2 file, keeping holes but not its read-only mode: the copy's header will be changed. */
export function copyFileArgv(source: string, target: string): readonly [string, ...string[]] {
  return ['cp', '--sparse=always', '--reflink=auto', '--no-preserve=mode', '--', source, target];
}

/** Compares raw content at an NBD URI with a raw file. Exit codes as for compareArgv. */
export function compareRawNbdArgv(uri: string, file: string): readonly [string, ...string[]] {
  return ['qemu-img', 'compare', ...keyArguments(uri), '-F', 'raw', nbdSource(uri, 0), file];
}

/** Compares a disk with a chain, byte for byte. Exit code 0: identical; 1: different. Prints progress. */
export function compareArgv(source: ImageChain, target: string, format: DiskFormat): readonly [string, ...string[]] {
  return ['qemu-img', 'compare', '-p', '-F', format, imageFileName(source), target];
}

/** The last progress printed by qemu-img, 0 to 100; 0 before any. */
export function percentIn(output: string): number {
  const told = [...output.matchAll(/\((\d+(?:\.\d+)?)\/100%\)/g)].at(-1)?.[1];
  return told === undefined ? 0 : Math.min(100, Number(told));
}

/** File name extension of a format. */
export function extensionOf(format: DiskFormat): string {
  return format;
}

/** A VM's name as part of a file name: readable, valid on any file system, and never a path. */
export function fileNamePart(name: string): string {
  const safe = name.replaceAll(/[^\p{L}\p{N}._-]+/gu, '_').replace(/^[.-]/, '_');
  return safe.slice(0, 60) || '_';
}

/** Name of a restored disk's file, e.g. `pgtest1-disk0.raw`. */
export function restoredFileName(vmName: string, diskId: number, format: DiskFormat): string {
  return `${fileNamePart(vmName)}-disk${diskId}.${extensionOf(format)}`;
}

/** Names of a restored chain's files, oldest first; the last is the disk, e.g. `pgtest1-disk0.base1.qcow2`, `pgtest1-disk0.qcow2`. */
export function restoredChainNames(vmName: string, diskId: number, files: number): readonly string[] {
  const stem = `${fileNamePart(vmName)}-disk${diskId}`;
  return Array.from({ length: files }, (_, index) => (index === files - 1 ? `${stem}.qcow2` : `${stem}.base${index + 1}.qcow2`));
}

/** qemu-img convert of raw content at an NBD URI into one QCOW2 file, like convertArgv. @param patienceSeconds as in nbdSource */
export function convertNbdArgv(uri: string, target: string, patienceSeconds: number): readonly [string, ...string[]] {
  return ['qemu-img', 'convert', ...keyArguments(uri), '-p', '-W', '-m', '16', '-O', 'qcow2', nbdSource(uri, patienceSeconds), target];
}

/** Like compareArgv, for raw content at an NBD URI and a QCOW2 file. @param patienceSeconds as in nbdSource */
export function compareNbdArgv(uri: string, target: string, patienceSeconds: number): readonly [string, ...string[]] {
  return ['qemu-img', 'compare', ...keyArguments(uri), '-p', '-F', 'qcow2', nbdSource(uri, patienceSeconds), target];
}
