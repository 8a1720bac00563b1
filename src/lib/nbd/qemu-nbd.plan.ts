import { type ImageGraph, imageName } from '../qemu/image-graph.plan.js';
import { keyArguments, nbdSource } from '../qemu/nbd-source.plan.js';

/** How qemu keeps written data: `unsafe` never waits for the disk, `writeback` does when the client asks for a flush. */
export type CacheMode = 'unsafe' | 'writeback';

/** A Unix socket, or a TCP port that accepts only clients with the key of the `keys.psk` in keyDirectory. */
export type TargetListen = { readonly socket: string } | { readonly host: string; readonly port: number; readonly keyDirectory: string };

export interface TargetServer {
  /** Absolute path of a QCOW2 file. */
  readonly file: string;
  readonly readOnly: boolean;
  readonly listen: TargetListen;
  readonly exportName: string;
  /** Clients at once at most; 0: any number. */
  readonly sharedLimit: number;
  /** `unsafe` is right only where the finished file is fsynced before anybody counts on it. */
  readonly cache: CacheMode;
}

export interface SourceServer {
  readonly image: ImageGraph;
  /** Absolute path of the Unix socket, at most 107 bytes long. Not removed when the server is killed. */
  readonly socket: string;
  readonly sharedLimit: number;
  /** A QCOW2 bitmap that is served as `qemu:dirty-bitmap:<name>`; null for none. */
  readonly bitmap: string | null;
}

export interface ForwardingServer {
  /** The export that is served further, as nbdUri writes it. */
  readonly uri: string;
  /** Absolute path, at most 107 bytes long. */
  readonly socket: string;
  readonly exportName: string;
  /** For so long requests wait for a lost connection to the export; 0: they fail at once. */
  readonly patienceSeconds: number;
}

/**
 * qemu-nbd with a QCOW2 file. Without --persistent it would end when its first client leaves, and without --shared a second client would hang for ever.
 * An absolute file name is taken as it is, whatever characters it holds.
 */
export function targetServerArgv(target: TargetServer): readonly [string, ...string[]] {
  return [
    'qemu-nbd',
    '--persistent',
    `--shared=${target.sharedLimit}`,
    '--format=qcow2',
    ...(target.readOnly ? ['--read-only'] : [`--cache=${target.cache}`, '--discard=unmap']),
    ...listenArguments(target.listen),
    `--export-name=${target.exportName}`,
    '--',
    target.file,
  ];
}

function listenArguments(listen: TargetListen): readonly string[] {
  if ('socket' in listen) return [`--socket=${listen.socket}`];
  const { host, port, keyDirectory } = listen;
  // A comma inside a value is written twice.
  const tls = `--object=tls-creds-psk,id=key,endpoint=server,dir=${keyDirectory.replaceAll(',', ',,')}`;
  return [`--bind=${host}`, `--port=${port}`, tls, '--tls-creds=key'];
}

/** qemu-nbd with an image, read-only, as the default export on a Unix socket. */
export function sourceServerArgv(source: SourceServer): readonly [string, ...string[]] {
  return [
    'qemu-nbd',
    '--persistent',
    `--shared=${source.sharedLimit}`,
    '--read-only',
    ...(source.bitmap === null ? [] : [`--bitmap=${source.bitmap}`]),
    `--socket=${source.socket}`,
    '--',
    imageName(source.image),
  ];
}

/**
 * qemu-nbd that serves another server's export on a Unix socket: what qemu itself needs to reach an export with a key, because libvirt cannot give it one. It listens before it has reached the
 * export, and ends where that fails.
 */
export function forwardingServerArgv({ uri, socket, exportName, patienceSeconds }: ForwardingServer): readonly [string, ...string[]] {
  return [
    'qemu-nbd',
    '--persistent',
    '--shared=0',
    '--cache=writeback',
    '--discard=unmap',
    ...keyArguments(uri),
    `--socket=${socket}`,
    `--export-name=${exportName}`,
    '--',
    nbdSource(uri, patienceSeconds),
  ];
}
