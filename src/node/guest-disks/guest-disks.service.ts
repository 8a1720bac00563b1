import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { DomainError } from '../../kernel/domain-error.js';
import { NodeConfig } from '../node.config.js';
import { LibvirtDomains } from '../libvirt/libvirt-domains.js';
import { loggerFor } from '../../lib/logging/logger.js';
import { nbdHandshake } from '../../lib/nbd/nbd-handshake.js';
import { parseNbdAddress } from '../../lib/nbd/nbd-uri.js';
import { forwardingServerArgv } from '../../lib/nbd/qemu-nbd.plan.js';
import { ProcessSupervisor } from '../../lib/process/process-supervisor.port.js';
import { namesIn } from '../../lib/files/if-there.js';
import { reachedExport } from '../model/served-disks.js';
import { guestSocket, handOverGuestSocket, holderOfGuestSocket, makeGuestSocketDirectory, removeGuestSocketDirectory } from './guest-sockets.js';

/** A guest's disk, served by the hub. */
export interface GuestDisk {
  /** As written by exportUri. */
  readonly uri: string;
  /** Has the name that qemu expects; read if the URI needs a key. */
  readonly keyFile: string;
}

/** Added to the patience for a lost connection. */
const ANSWER_MS = 15_000;
const LOOK_MS = 20;
const STOP_GRACE_MS = 3_000;
/** Shorter than qemu holds a guest's requests while its server is gone. */
const RESTART_MS = 1_000;

/**
 * The disks of guests that live on the hub. Each has a forwarding server, which holds the export's key; qemu reaches it on a Unix socket that only the guests'
 * account may connect to.
 * The servers are detached: they outlive this program, and its next start finds them by the guest's id.
 */
@Injectable()
export class GuestDisks implements OnApplicationShutdown {
  private readonly logger = loggerFor('GuestDisks');
  /** Watches over the servers, by guest. */
  private readonly watches = new Map<string, { readonly stop: AbortController; readonly done: Promise<unknown> }>();
  private readonly root: string;
  /** 0: the hub is on this machine, and a lost export does not come back. */
  private readonly patienceSeconds: number;

  constructor(
    private readonly config: NodeConfig,
    private readonly domains: LibvirtDomains,
    private readonly supervisor: ProcessSupervisor,
  ) {
    this.root = config.guestSocketDirectory;
    this.patienceSeconds = config.besideHub ? 0 : config.networkPatienceSeconds;
  }

  /** Socket on which qemu finds a disk of the guest. @throws DomainError guest_socket_refused */
  socket(guestId: string, index: number): string {
    return guestSocket(this.root, guestId, index);
  }

  /**
   * Makes the disks reachable for qemu; leaves those that already are. A server that ends is restarted until the guest's disks are closed.
   * @throws DomainError export_unreachable, guest_socket_refused, libvirt_unavailable, tool_missing; the signal's reason
   */
  async open(guestId: string, disks: readonly GuestDisk[], signal: AbortSignal): Promise<void> {
    const giveUp = new AbortController();
    const both = AbortSignal.any([signal, giveUp.signal]);
    const serve = async (disk: GuestDisk, index: number): Promise<void> => {
      try {
        await this.serve(guestId, index, disk, both);
      } catch (error) {
        giveUp.abort(error);
        throw error;
      }
    };
    // Wait for all, so that nothing more starts after this throws and the caller can close the rest.
    for (const each of await Promise.allSettled(disks.map(serve))) if (each.status === 'rejected') throw both.reason;
    this.watch(guestId, disks);
  }

  /** Resumes the watch over a guest's servers after a restart of the node, and starts those that are gone. Returns immediately. */
  resume(guestId: string, disks: readonly GuestDisk[]): void {
    this.watch(guestId, disks);
  }

  /** Call only once the guest is gone. A no-op for one without disks here. */
  async close(guestId: string): Promise<void> {
    const watch = this.watches.get(guestId);
    watch?.stop.abort(new Error('closed'));
    await watch?.done;
    this.watches.delete(guestId);
    for (const name of await namesIn(this.runDirectory(guestId))) {
      const directory = join(this.runDirectory(guestId), name);
      await this.supervisor.stop(directory, STOP_GRACE_MS);
      await removeGuestSocketDirectory(this.socket(guestId, Number(name)));
      await this.supervisor.forget(directory);
    }
    await rm(this.runDirectory(guestId), { recursive: true, force: true });
  }

  onApplicationShutdown(): void {
    for (const { stop } of this.watches.values()) stop.abort(new Error('the node is shutting down'));
  }

  private watch(guestId: string, disks: readonly GuestDisk[]): void {
    if (this.watches.has(guestId)) return;
    const stop = new AbortController();
    // Each loop ends with the signal's reason.
    const done = Promise.allSettled(disks.map((disk, index) => this.keepServing(guestId, index, disk, stop.signal)));
    this.watches.set(guestId, { stop, done });
  }

  /** @throws only the signal's reason */
  private async keepServing(guestId: string, index: number, disk: GuestDisk, signal: AbortSignal): Promise<never> {
    let reported = false;
    for (;;) {
      try {
        await this.serve(guestId, index, disk, signal);
        reported = false;
        const { stderr } = await this.supervisor.waitForExit(this.directory(guestId, index), signal);
        signal.throwIfAborted();
        this.logger.warn("the server of a guest's disk has ended; restarting it", { guest_id: guestId, disk: index, stderr });
      } catch (error) {
        signal.throwIfAborted();
        if (!reported) this.logger.error("a guest's disk cannot be reached at the hub; retrying", { guest_id: guestId, disk: index, error });
        // oxlint-disable-next-line no-useless-assignment -- the next round reads it
        reported = true;
      }
      await pause(RESTART_MS, undefined, { signal });
    }
  }

  private async serve(guestId: string, index: number, { uri: given, keyFile }: GuestDisk, signal: AbortSignal): Promise<void> {
    const directory = this.directory(guestId, index);
    const socket = this.socket(guestId, index);
    const uri = await reachedExport(given, keyFile, this.config.tunnelDirectory);
    const { exportName } = parseNbdAddress(uri);
    const holder = await holderOfGuestSocket(socket);
    let { state } = await this.supervisor.status(directory);
    if (state === 'running' && holder === 'theirs') return;
    if (state === 'running' && holder === 'nobody') {
      await this.supervisor.stop(directory, STOP_GRACE_MS);
      state = 'exited';
    }
    if (state === 'exited') await this.supervisor.forget(directory);
    if (state !== 'running') {
      await makeGuestSocketDirectory(this.root, socket);
      await this.supervisor.start(directory, forwardingServerArgv({ uri, socket, exportName, patienceSeconds: this.patienceSeconds }));
    }
    try {
      await this.answered(directory, socket, exportName, signal);
      await handOverGuestSocket(this.root, socket, await this.domains.guestAccount());
    } catch (error) {
      // The disk is not in use by any guest yet.
      if (state !== 'running') await this.supervisor.stop(directory, STOP_GRACE_MS);
      throw error;
    }
  }

  /** @throws DomainError export_unreachable, tool_missing */
  private async answered(directory: string, socket: string, exportName: string, signal: AbortSignal): Promise<void> {
    const ends = performance.now() + this.patienceSeconds * 1000 + ANSWER_MS;
    for (;;) {
      signal.throwIfAborted();
      try {
        await nbdHandshake({ socket }, exportName, AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]));
        return;
      } catch (error) {
        const status = await this.supervisor.status(directory);
        if (status.state === 'exited' && status.exitCode === 127)
          throw new DomainError('unavailable', 'tool_missing', 'qemu-nbd is not installed on the node.');
        const said = status.state === 'exited' ? status.stderr.trim() : String(error);
        if (status.state !== 'running' || performance.now() > ends) {
          throw new DomainError('unavailable', 'export_unreachable', `The node cannot reach export ${exportName} of the hub for a guest: ${said}`);
        }
      }
      await pause(LOOK_MS, undefined, { signal });
    }
  }

  private directory(guestId: string, index: number): string {
    return join(this.runDirectory(guestId), String(index));
  }

  private runDirectory(guestId: string): string {
    return join(this.config.runDirectory, 'guest-disks', guestId);
  }
}
