import { homedir } from 'node:os';
import { join } from 'node:path';
import {
  AbsolutePath,
  AbsolutePaths,
  Flag,
  Host,
  HttpUrl,
  IntegerBetween,
  LibvirtUri,
  NameOrNull,
  OneOf,
  PowerOfTwoBetween,
} from '../lib/config/config-rules.js';
import type { LoadableConfig } from '../lib/config/load-config.js';
import { LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel } from '../lib/logging/logger.js';

const RELOADABLE: readonly (keyof NodeConfig)[] = [
  'hubUrl',
  'imageRoots',
  'imageTemplates',
  'libvirtScratchMaxBytes',
  'vmStorageRoots',
  'allowHubGuests',
  'maxParallelTransfers',
  'nbdcopyConnections',
  'nbdcopyRequests',
  'nbdcopyRequestSizeBytes',
  'telemetryIntervalMs',
  'logLevel',
  'logFormat',
];

/** The node's configuration, validated; named in file and environment as HubConfig is. After loading no path is empty. */
export class NodeConfig implements LoadableConfig {
  /** null until the start has read or made the one in `<data>/node.id`; what the application is given always has one. */
  @NameOrNull() readonly nodeId: string | null = null;
  @AbsolutePath() readonly dataDirectory: string = defaultDataDirectory();

  @Host() readonly listenHost: string = '127.0.0.1';
  /** 0: any free port; the one in use is written to `<data>/node.url`. */
  @IntegerBetween(0, 65535) readonly listenPort: number = 9081;

  @HttpUrl() readonly hubUrl: string = 'http://127.0.0.1:9080';
  /** Holds the token that node and hub show each other. Default `<data>/node.token`; it must exist at the start. */
  @AbsolutePath() readonly tokenFile: string = '';

  /** The hub's NBD exports are on this machine and not behind a network; the hub sets it for the node that it starts itself. */
  @Flag() readonly besideHub: boolean = false;

  /** Of `sendense tunnel`: key, the hub's host key, what to connect to, and what became of it. Default `<data>/tunnel`. */
  @AbsolutePath() readonly tunnelDirectory: string = '';
  /** SSH connections that share the hub's ports out among them: one alone is limited by one core and by one TCP window. */
  @IntegerBetween(1, 16) readonly tunnelConnections: number = 2;
  /** How long a copy whose network is cut waits for it before it fails. */
  @IntegerBetween(1, 86_400) readonly networkPatienceSeconds: number = 240;

  /** Folders that hold VM folders (source `image`). */
  @AbsolutePaths() readonly imageRoots: readonly string[] = ['/var/lib/sendense/images'];

  /** Files, or folders with all that is below them, that disks of any VM may stand on. Other parents have to be files of the same VM. */
  @AbsolutePaths() readonly imageTemplates: readonly string[] = [];

  /** Connection URI of the libvirt whose domains the node backs up, for example `qemu:///system`; empty: none. */
  @LibvirtUri() readonly libvirtUri: string = '';
  /**
   * Where what running guests overwrite during their backup is kept until its end; on a file system with room, and writable for the user that qemu runs as. Default
   * `<data>/libvirt-scratch`.
   */
  @AbsolutePath() readonly libvirtScratchDirectory: string = '';
  /** Of one backup. One that needs more fails; its guest goes on. */
  @IntegerBetween(16_777_216, Number.MAX_SAFE_INTEGER) readonly libvirtScratchMaxBytes: number = 10_737_418_240;
  /**
   * Where the guests that live on exports of the hub (instant VMs, boot checks) find their disks: sockets that only the account of guests may connect to. That account must be able to pass
   * through the directories above it. Default `<data>/guest-disks`.
   */
  @AbsolutePath() readonly guestSocketDirectory: string = '';
  /** Folders that disks of restored VMs may be written to, with all that is below them. */
  @AbsolutePaths() readonly vmStorageRoots: readonly string[] = ['/var/lib/libvirt/images'];
  /** Whether the hub may have this node define or start domains, which is what VM restores and boot checks are. */
  @Flag() readonly allowHubGuests: boolean = true;

  /** Disks of all jobs that are copied at once. */
  @IntegerBetween(1, 1000) readonly maxParallelTransfers: number = 8;
  /** For each disk. The hub's exports take ten clients, and nbdcopy waits for ever for a connection that it does not get. */
  @IntegerBetween(1, 8) readonly nbdcopyConnections: number = 4;
  /** In flight on each connection. */
  @IntegerBetween(1, 1024) readonly nbdcopyRequests: number = 64;
  @PowerOfTwoBetween(4096, 33_554_432) readonly nbdcopyRequestSizeBytes: number = 262_144;
  @IntegerBetween(50, 60_000) readonly telemetryIntervalMs: number = 500;

  /** Run directories of detached processes. Default `<data>/run`. */
  @AbsolutePath() readonly runDirectory: string = '';

  @OneOf(...LOG_LEVELS) readonly logLevel: LogLevel = 'info';
  @OneOf(...LOG_FORMATS) readonly logFormat: LogFormat = 'json';

  pathsInDataDirectory(): Readonly<Record<string, string>> {
    return {
      tokenFile: 'node.token',
      runDirectory: 'run',
      libvirtScratchDirectory: 'libvirt-scratch',
      guestSocketDirectory: 'guest-disks',
      tunnelDirectory: 'tunnel',
    };
  }

  secretFields(): readonly string[] {
    return [];
  }

  reloadableFields(): readonly string[] {
    return RELOADABLE;
  }
}

function defaultDataDirectory(): string {
  return process.getuid?.() === 0 ? '/var/lib/sendense-node' : join(homedir(), '.local', 'share', 'sendense-node');
}
