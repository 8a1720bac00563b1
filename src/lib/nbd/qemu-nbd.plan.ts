import { type ImageGraph, imageName } from '../qemu/image-graph.plan.js';
import { keyArguments, nbdSource } from '../qemu/nbd-source.plan.js';

/** qemu's cache mode: `unsafe` never waits for the disk, `writeback` waits when the client requests a flush. */
export type CacheMode = 'unsafe' | 'writeback';

/** A Unix socket, or a TCP port that accepts only clients with the key of the `keys.psk` in keyDirectory. */
export type TargetListen = { readonly socket: string } | { readonly host: string; readonly port: number; readonly keyDirectory: string };

export interface TargetServer {
  /** Absolute path of a QCOW2 file. */
  readonly file: string;
  readonly readOnly: boolean;
  readonly listen: TargetListen;
  readonly exportName: string;
  /** Maximum number of concurrent clients; 0: unlimited. */
  readonly sharedLimit: number;
  /** `unsafe` is correct only when the finished file is fsynced before anything relies on it. */
  readonly cache: CacheMode;
}

export interface SourceServer {
  readonly image: ImageGraph;
  /** Absolute path of the Unix socket, at most 107 bytes long. Not removed when the server is killed. */
  readonly socket: string;
  readonly sharedLimit: number;
  /** A QCOW2 bitmap to serve as `qemu:dirty-bitmap:<name>`; null for none. */
  readonly bitmap: string | null;
}

export interface ForwardingServer {
  /** The export to forward, as written by nbdUri. */
  readonly uri: string;
  /** Absolute path, at most 107 bytes long. */
  readonly socket: string;
  readonly exportName: string;
  /** How long requests wait for a lost connection to the export; 0: they fail immediately. */
  readonly patienceSeconds: number;
}

/**
 * qemu-nbd for a QCOW2 file. Without --persistent it would exit after its first client, and without --shared a second client would hang forever. An absolute
 * file name is taken literally, whatever characters it contains.
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
  // A comma inside a value is doubled.
  const tls = `--object=tls-creds-psk,id=key,endpoint=server,dir=${keyDirectory.replaceAll(',', ',,')}`;
  return [`--bind=${host}`, `--port=${port}`, tls, '--tls-creds=key'];
}

/** qemu-nbd for an image, read-only, as the default export on a Unix socket. */
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
 * qemu-nbd that serves another server's export on a Unix socket. qemu needs it to reach an export with a key, because libvirt cannot pass the key. It listens
 * before it has reached the export, and exits if that fails.
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
