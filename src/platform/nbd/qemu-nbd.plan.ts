/** How qemu keeps written data: `unsafe` never waits for the disk, `writeback` does when the client asks for a flush. */
export type CacheMode = 'unsafe' | 'writeback';

export interface TargetServer {
  /** Absolute path of a QCOW2 file. */
  readonly file: string;
  readonly readOnly: boolean;
  /** Address to listen on. */
  readonly host: string;
  readonly port: number;
  readonly exportName: string;
  /** Clients at once at most. */
  readonly sharedLimit: number;
  /** `unsafe` is right only where the finished file is fsynced before anybody counts on it. */
  readonly cache: CacheMode;
}

export interface SourceServer {
  /** Absolute path of an image. */
  readonly file: string;
  readonly format: 'qcow2' | 'raw';
  /** Absolute path of the Unix socket, at most 107 bytes long. Not removed when the server is killed. */
  readonly socket: string;
  readonly sharedLimit: number;
  /** A QCOW2 bitmap that is served as `qemu:dirty-bitmap:<name>`; null for none. */
  readonly bitmap: string | null;
}

/**
 * qemu-nbd with a QCOW2 file on a TCP port. Without --persistent it would end when its first client leaves, and without --shared a second client would hang for ever.
 * An absolute file name is taken as it is, whatever characters it holds.
 */
export function targetServerArgv(target: TargetServer): readonly [string, ...string[]] {
  return [
    'qemu-nbd',
    '--persistent',
    `--shared=${target.sharedLimit}`,
    '--format=qcow2',
    ...(target.readOnly ? ['--read-only'] : [`--cache=${target.cache}`, '--discard=unmap']),
    `--bind=${target.host}`,
    `--port=${target.port}`,
    `--export-name=${target.exportName}`,
    '--',
    target.file,
  ];
}

/** qemu-nbd with an image, read-only, as the default export on a Unix socket. */
export function sourceServerArgv(source: SourceServer): readonly [string, ...string[]] {
  return [
    'qemu-nbd',
    '--persistent',
    `--shared=${source.sharedLimit}`,
    '--read-only',
    `--format=${source.format}`,
    ...(source.bitmap === null ? [] : [`--bitmap=${source.bitmap}`]),
    `--socket=${source.socket}`,
    '--',
    source.file,
  ];
}
