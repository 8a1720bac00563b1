import { homedir } from 'node:os';
import { join } from 'node:path';
import {
  AbsolutePath,
  AbsolutePathOrEmpty,
  AbsolutePaths,
  EventStoreDbUrlOrNull,
  Flag,
  GreaterThanField,
  Host,
  HostOrEmpty,
  IntegerBetween,
  LibvirtUri,
  NeededWith,
  OneOf,
  PortsFitAfter,
  PostgresUrlOrNull,
  TokenOrNull,
} from '../lib/config/config-rules.js';
import type { LoadableConfig } from '../lib/config/load-config.js';
import { LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel } from '../lib/logging/logger.js';

const RELOADABLE: readonly (keyof HubConfig)[] = [
  'nbdPortFirst',
  'nbdPortCount',
  'nbdAdvertiseHost',
  'tunnelAdvertiseHost',
  'tunnelAdvertisePort',
  'pairingMinutes',
  'nodePortFirst',
  'nodePortCount',
  'maxConcurrentBackups',
  'stallAfterSeconds',
  'failAfterSilentSeconds',
  'chainMaxLength',
  'expiryGraceSeconds',
  'scrubPercentPerDay',
  'copyPatienceSeconds',
  'nodeRequestTimeoutMs',
  'refusedTokenDelayMs',
  'maxDownloads',
  'maxDownloadsPerActor',
  'maxEventStreams',
  'maxEventStreamsPerActor',
  'slowReaderSeconds',
  'slowReaderMinBytesPerSecond',
  'restoreExportIdleSeconds',
  'localNodePort',
  'localNodeImageRoots',
  'localNodeImageTemplates',
  'localNodeLibvirtUri',
  'localNodeLibvirtScratchDirectory',
  'localNodeLibvirtScratchMaxBytes',
  'localNodeGuestSocketDirectory',
  'localNodeVmStorageRoots',
  'restoreRoots',
  'mountDriver',
  'mountSlots',
  'mountIdleSeconds',
  'mountCleanupIntervalSeconds',
  'mountTimeoutSeconds',
  'mountAnswerSeconds',
  'storageAnswerSeconds',
  'guestfsForceEmulation',
  'logLevel',
  'logFormat',
];

/**
 * The hub's validated configuration. A field is snake_case in the file (`listen_port`) and `SENDENSE_LISTEN_PORT` in the environment; the database is also
 * read from `DATABASE_URL`. An empty path stands for the default in the data directory that its comment names; after loading no path is empty.
 */
export class HubConfig implements LoadableConfig {
  /** Holds all of the hub's own data: PostgreSQL's files, tokens, run directories of processes. */
  @AbsolutePath() readonly dataDirectory: string = defaultDataDirectory();

  /** Waits while another hub is active on the same database, and takes over when that one ends. Needs databaseUrl; see docs/standby.md. */
  @Flag() readonly standby: boolean = false;
  /**
   * Holds what an active hub and its standby have in common: the hub's id, and all tokens. For a standby it is on storage that both machines reach. Default
   * `<data>`.
   */
  @AbsolutePath() readonly sharedDirectory: string = '';

  @Host() readonly listenHost: string = '127.0.0.1';
  /** 0: any free port; the one in use is written to `<data>/hub.url`. */
  @IntegerBetween(0, 65535) readonly listenPort: number = 9080;

  /** null: a PostgreSQL server of the hub's own, in its data directory. May contain a password: never logged. */
  @PostgresUrlOrNull() readonly databaseUrl: string | null = null;
  /**
   * Used with databaseUrl: the role that owns the event store, so that the role of databaseUrl cannot change events. null: that role is the owner.
   * Never logged.
   */
  @PostgresUrlOrNull() readonly databaseOwnerUrl: string | null = null;

  /** Where events are kept. Read models, and the lock that admits a single hub, are in PostgreSQL in either case. */
  @OneOf('postgres', 'eventstoredb') readonly eventStore: 'postgres' | 'eventstoredb' = 'postgres';
  /** With `event_store: eventstoredb`. Contains a password: never logged. */
  @EventStoreDbUrlOrNull()
  @NeededWith('eventStore', 'eventstoredb', 'must be set with event_store: eventstoredb')
  readonly eventstoredbUrl: string | null = null;
  /** Certificates of the authority that signed those of the servers; empty: the system's. */
  @AbsolutePathOrEmpty() readonly eventstoredbCaFile: string = '';

  /** A configured token; null: the one in apiTokenFile, created at first start. Never logged. */
  @TokenOrNull() readonly apiToken: string | null = null;
  /** Default `<data>/api.token`. */
  @AbsolutePath() readonly apiTokenFile: string = '';
  /** Names and digests of further tokens, which `sendense token` writes. Default `<data>/api-tokens`. */
  @AbsolutePath() readonly apiTokenListFile: string = '';
  /** Token with which nodes and the hub authenticate each other. Default `<data>/node.token`, created at first start. */
  @AbsolutePath() readonly nodeTokenFile: string = '';

  /** First port of the pool for NBD exports; the others follow it. */
  @IntegerBetween(1024, 65535) readonly nbdPortFirst: number = 10100;
  @IntegerBetween(1, 1000) @PortsFitAfter('nbdPortFirst', 'nbd_port_first') readonly nbdPortCount: number = 101;
  /** Address that the exports listen on. */
  @Host() readonly nbdListenHost: string = '127.0.0.1';
  /** Address to which nodes connect. */
  @Host() readonly nbdAdvertiseHost: string = '127.0.0.1';

  /** Files shared by hub and tunnel server: authorized keys, host key, the tunnel server's address. Default `<data>/tunnel`. */
  @AbsolutePath() readonly tunnelDirectory: string = '';
  /** Name or address under which nodes reach the tunnel server; empty: no node can be enrolled. */
  @HostOrEmpty() readonly tunnelAdvertiseHost: string = '';
  /** 0: the port that the tunnel server listens on. */
  @IntegerBetween(0, 65535) readonly tunnelAdvertisePort: number = 0;
  /** How long a pairing code is valid. */
  @IntegerBetween(1, 10_080) readonly pairingMinutes: number = 15;
  /** First port on the hub's loopback address for the tunnels of enrolled nodes, one each; ports of the hub and of its local node are skipped. */
  @IntegerBetween(1024, 65535) readonly nodePortFirst: number = 9081;
  @IntegerBetween(1, 1000) @PortsFitAfter('nodePortFirst', 'node_port_first') readonly nodePortCount: number = 100;

  /** Maximum number of concurrent backups; further ones are pending. */
  @IntegerBetween(1, 1000) readonly maxConcurrentBackups: number = 8;
  /** A job that reports nothing for this long is stalled. */
  @IntegerBetween(1, 86_400) readonly stallAfterSeconds: number = 60;
  /** A job that reports nothing for this long has failed. */
  @IntegerBetween(1, 604_800) @GreaterThanField('stallAfterSeconds', 'stall_after_seconds') readonly failAfterSilentSeconds: number = 300;
  /** Maximum number of restore points in a chain, including the full; the next backup after that is a full. */
  @IntegerBetween(1, 1000) readonly chainMaxLength: number = 30;
  /** How long the files of an expired restore point stay, so that its expiry can be taken back. */
  @IntegerBetween(0, 31_536_000) readonly expiryGraceSeconds: number = 86_400;
  /** The share of each repository that is read and verified per day, in percent of its bytes; 0: none. */
  @IntegerBetween(0, 100) readonly scrubPercentPerDay: number = 5;
  /** How long a copy that makes no progress is tried again, for example while its repository is unavailable, before it fails. */
  @IntegerBetween(0, 31_536_000) readonly copyPatienceSeconds: number = 86_400;
  /** How long the hub waits for an answer of a node. */
  @IntegerBetween(100, 600_000) readonly nodeRequestTimeoutMs: number = 10_000;

  /** Maximum delay of the answer to a refused token, after ten refusals from one address; 0: no delay. */
  @IntegerBetween(0, 60_000) readonly refusedTokenDelayMs: number = 2_000;
  /** Maximum number of concurrent downloads of disks, files, folders and the audit log; each is one or two processes. */
  @IntegerBetween(1, 1000) readonly maxDownloads: number = 32;
  @IntegerBetween(1, 1000) readonly maxDownloadsPerActor: number = 24;
  /** Maximum number of concurrent server-sent event streams. */
  @IntegerBetween(1, 10_000) readonly maxEventStreams: number = 256;
  @IntegerBetween(1, 10_000) readonly maxEventStreamsPerActor: number = 128;
  /** A reader for whom bytes have waited this long is cut off if it was slower than the rate. */
  @IntegerBetween(1, 3600) readonly slowReaderSeconds: number = 60;
  @IntegerBetween(1, 1_000_000_000) readonly slowReaderMinBytesPerSecond: number = 4096;

  /** How long an NBD export of a restore point stays open without a client. */
  @IntegerBetween(1, 604_800) readonly restoreExportIdleSeconds: number = 3600;

  /** Folders that disks may be restored to, including subfolders; empty: any folder that is not the hub's own. */
  @AbsolutePaths() readonly restoreRoots: readonly string[] = [];

  /** Whether the hub starts a node next to itself, as a separate process. */
  @Flag() readonly startLocalNode: boolean = true;
  /** 0: any free port. */
  @IntegerBetween(0, 65535) readonly localNodePort: number = 9081;
  /** Folders in which the local node looks for VM folders. */
  @AbsolutePaths() readonly localNodeImageRoots: readonly string[] = ['/var/lib/sendense/images'];
  /** Files and folders that disks of the local node's VMs may be based on; see the node's imageTemplates. */
  @AbsolutePaths() readonly localNodeImageTemplates: readonly string[] = [];
  /** Connection URI of the libvirt whose domains the local node backs up, for example `qemu:///system`; empty: none. */
  @LibvirtUri() readonly localNodeLibvirtUri: string = '';
  /** Where the local node keeps the data that running guests overwrite during their backup. Default `<data>/local-node/libvirt-scratch`. */
  @AbsolutePath() readonly localNodeLibvirtScratchDirectory: string = '';
  /** Per backup. */
  @IntegerBetween(16_777_216, Number.MAX_SAFE_INTEGER) readonly localNodeLibvirtScratchMaxBytes: number = 10_737_418_240;
  /** Where guests of the local node that run from exports find their disks; see the node's guestSocketDirectory. Default `<data>/local-node/guest-disks`. */
  @AbsolutePath() readonly localNodeGuestSocketDirectory: string = '';
  /** Folders that the local node may write disks of restored VMs to, including subfolders. */
  @AbsolutePaths() readonly localNodeVmStorageRoots: readonly string[] = ['/var/lib/libvirt/images'];

  /** How restore points are opened for browsing. `auto`: in the sandbox; with `fuse` and `nbd` the host's kernel reads the guests' file systems. */
  @OneOf('auto', 'fuse', 'nbd', 'guestfs') readonly mountDriver: 'auto' | 'fuse' | 'nbd' | 'guestfs' = 'auto';
  /** Maximum number of concurrent mounts; further ones are refused. */
  @IntegerBetween(1, 64) readonly mountSlots: number = 8;
  /** A mount is taken down after being unused for this long. */
  @IntegerBetween(1, 604_800) readonly mountIdleSeconds: number = 3600;
  @IntegerBetween(1, 3600) readonly mountCleanupIntervalSeconds: number = 60;
  /** A mount that is not ready after this long is given up. An emulated sandbox needs most of this time. */
  @IntegerBetween(5, 3600) readonly mountTimeoutSeconds: number = 300;
  /** How long to wait for an answer of a mounted file system. A download waits twice as long for its next bytes. */
  @IntegerBetween(1, 600) readonly mountAnswerSeconds: number = 30;
  /** Of the mount helper. A hub that runs as root, and finds no socket there, mounts shares by itself, below `<data>/mounts`. */
  @AbsolutePath() readonly mountHelperSocket: string = '/run/sendense-mounts/helper.sock';
  /** How long to wait for a call to the file system of a repository, or of a folder that disks are restored to. */
  @IntegerBetween(1, 600) readonly storageAnswerSeconds: number = 30;
  /** Emulates the sandbox's machine even if the host could virtualize it. */
  @Flag() readonly guestfsForceEmulation: boolean = false;

  /** Run directories of detached processes. Default `<data>/run`. */
  @AbsolutePath() readonly runDirectory: string = '';

  @OneOf(...LOG_LEVELS) readonly logLevel: LogLevel = 'info';
  @OneOf(...LOG_FORMATS) readonly logFormat: LogFormat = 'json';

  pathsInDataDirectory(): Readonly<Record<string, string>> {
    const shared = (name: string): string => join(this.sharedDirectory, name);
    return {
      sharedDirectory: '',
      apiTokenFile: shared('api.token'),
      apiTokenListFile: shared('api-tokens'),
      nodeTokenFile: shared('node.token'),
      runDirectory: 'run',
      localNodeLibvirtScratchDirectory: 'local-node/libvirt-scratch',
      localNodeGuestSocketDirectory: 'local-node/guest-disks',
      tunnelDirectory: 'tunnel',
    };
  }

  secretFields(): readonly string[] {
    return ['apiToken', 'databaseUrl', 'databaseOwnerUrl', 'eventstoredbUrl'];
  }

  /** Includes the settings of the local node, because that node is replaced by one with the new settings as soon as it is idle. */
  reloadableFields(): readonly string[] {
    return RELOADABLE;
  }
}

function defaultDataDirectory(): string {
  return process.getuid?.() === 0 ? '/var/lib/sendense' : join(homedir(), '.local', 'share', 'sendense');
}

/** Whether the host's kernel reads the guests' file systems. @param wanted `mount_driver` */
export function exposesKernel(wanted: HubConfig['mountDriver']): boolean {
  return wanted === 'fuse' || wanted === 'nbd';
}
