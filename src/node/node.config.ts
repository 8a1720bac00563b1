import { homedir } from 'node:os';
import { join } from 'node:path';
import {
  AbsolutePath,
  AbsolutePaths,
  Flag,
  Host,
  HttpUrls,
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

/** The node's validated configuration; names in file and environment follow the rules of HubConfig. After loading no path is empty. */
export class NodeConfig implements LoadableConfig {
  /** null until the start has read or created `<data>/node.id`; the running application always has an id. */
  @NameOrNull() readonly nodeId: string | null = null;
  @AbsolutePath() readonly dataDirectory: string = defaultDataDirectory();

  @Host() readonly listenHost: string = '127.0.0.1';
  /** 0: any free port; the actual one is written to `<data>/node.url`. */
  @IntegerBetween(0, 65535) readonly listenPort: number = 9081;

  /** Several, separated by commas, for the hubs of a pair: the active one is used. */
  @HttpUrls() readonly hubUrl: string = 'http://127.0.0.1:9080';
  /** File with the token that node and hub share. Default `<data>/node.token`; it must exist at the start. */
  @AbsolutePath() readonly tokenFile: string = '';

  /** The hub's NBD exports are on this machine, not across a network. The hub sets this for the node that it starts itself. */
  @Flag() readonly besideHub: boolean = false;

  /** Directory of `sendense tunnel`: key, the hub's host key, settings and journal. Default `<data>/tunnel`. */
  @AbsolutePath() readonly tunnelDirectory: string = '';
  /** SSH connections among which the hub's ports are divided; a single one is limited by one core and one TCP window. */
  @IntegerBetween(1, 16) readonly tunnelConnections: number = 2;
  /** How long a copy waits for a lost network before it fails. */
  @IntegerBetween(1, 86_400) readonly networkPatienceSeconds: number = 240;

  /** Folders that hold VM folders (source `image`). */
  @AbsolutePaths() readonly imageRoots: readonly string[] = ['/var/lib/sendense/images'];

  /** Files, or folders with everything below them, that disks of any VM may use as backing files. Any other backing file must belong to the same VM. */
  @AbsolutePaths() readonly imageTemplates: readonly string[] = [];

  /** Connection URI of the libvirt whose domains the node backs up, for example `qemu:///system`; empty: none. */
  @LibvirtUri() readonly libvirtUri: string = '';
  /**
   * Holds the old content that running guests overwrite during their backup. It needs a file system with enough space and must be writable for the user that
   * qemu runs as. Default `<data>/libvirt-scratch`.
   */
  @AbsolutePath() readonly libvirtScratchDirectory: string = '';
  /** Per backup. A backup that needs more fails; its guest keeps running. */
  @IntegerBetween(16_777_216, Number.MAX_SAFE_INTEGER) readonly libvirtScratchMaxBytes: number = 10_737_418_240;
  /**
   * Holds the disk sockets of guests that live on exports of the hub (instant VMs, boot checks); only the guests' account may connect to them. That account
   * must be able to traverse the directories above it. Default `<data>/guest-disks`.
   */
  @AbsolutePath() readonly guestSocketDirectory: string = '';
  /** Folders to which disks of restored VMs may be written, including everything below them. */
  @AbsolutePaths() readonly vmStorageRoots: readonly string[] = ['/var/lib/libvirt/images'];
  /** Whether the hub may have this node define or start domains, which VM restores and boot checks need. */
  @Flag() readonly allowHubGuests: boolean = true;

  /** Maximum number of disks copied at once, over all jobs. */
  @IntegerBetween(1, 1000) readonly maxParallelTransfers: number = 8;
  /** Per disk. The hub's exports accept ten clients, and nbdcopy waits forever for a connection it does not get. */
  @IntegerBetween(1, 8) readonly nbdcopyConnections: number = 4;
  /** In flight per connection. */
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
