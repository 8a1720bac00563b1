import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { DomainError } from '../../kernel/domain-error.js';
import { NodeConfig } from '../node.config.js';
import { canonicalJson } from '../../lib/http/canonical-json.js';
import { KeyedMutex } from '../../lib/concurrency/keyed-mutex.js';
import { loggerFor } from '../../lib/logging/logger.js';
import { LibvirtDomains } from '../libvirt/libvirt-domains.js';
import { NbdInfo } from '../../lib/nbd/nbd-info.js';
import type { NodeBootCheckArtefacts, NodeBootCheckReport, NodeStartBootCheck } from '../../contract/boot-check.js';
import { GuestDisks } from '../guest-disks/guest-disks.service.js';
import { readKeptRecords } from '../model/kept-records.js';
import { requireHubGuests } from '../model/hub-guests.js';
import { ActiveJobs } from '../model/active-jobs.registry.js';
import { requireExportKeys, withoutKeys } from '../model/served-disks.js';
import { BootCheck, type BootCheckRecord, type BootCheckDependencies, newBootCheck } from './boot-check.js';

/** All boot checks of this node. Each has a folder `<data>/boot-checks/<check id>` with its record and artefacts until it is settled. */
@Injectable()
export class BootChecks implements OnModuleInit, OnApplicationShutdown {
  private readonly logger = loggerFor('BootChecks');
  private readonly checks = new Map<string, BootCheck>();
  private readonly lock = new KeyedMutex();
  private readonly root: string;
  private readonly dependencies: BootCheckDependencies;

  constructor(
    private readonly config: NodeConfig,
    domains: LibvirtDomains,
    nbdInfo: NbdInfo,
    guestDisks: GuestDisks,
    active: ActiveJobs,
  ) {
    this.root = join(config.dataDirectory, 'boot-checks');
    const { runDirectory, tunnelDirectory } = config;
    this.dependencies = { domains, nbdInfo, guestDisks, tunnelDirectory, runDirectory: join(runDirectory, 'boot-checks') };
    active.add(() => [...this.checks.values()].filter((check) => !check.finished).length);
  }

  async onModuleInit(): Promise<void> {
    const { records, broken } = await readKeptRecords<BootCheckRecord>(this.root, 'check.json', 'report', ({ check_id }) => check_id);
    for (const checkId of broken) {
      this.logger.error('a boot check with an unreadable record is abandoned', { check_id: checkId });
      await this.dependencies.guestDisks.close(checkId);
      await rm(join(this.root, checkId), { recursive: true, force: true });
    }
    for (const record of records) {
      const check = new BootCheck(record, join(this.root, record.request.check_id), this.dependencies);
      this.checks.set(record.request.check_id, check);
      if (!check.finished) check.giveUp();
    }
  }

  onApplicationShutdown(): void {
    for (const check of this.checks.values()) check.detach();
  }

  /**
   * Starts a check, or returns its state if it was already started. @throws DomainError check_exists (with another body), export_key_missing,
   * hub_guests_refused
   */
  async start(given: NodeStartBootCheck): Promise<NodeBootCheckReport> {
    requireExportKeys(given.disks);
    const request = { ...given, disks: withoutKeys(given.disks) };
    return this.lock.runExclusive(request.check_id, async () => {
      const known = this.checks.get(request.check_id);
      if (known !== undefined) {
        if (canonicalJson(known.request) === canonicalJson(request)) return known.report;
        throw new DomainError('conflict', 'check_exists', `Boot check ${request.check_id} was already started with a different body.`, {
          check_id: request.check_id,
        });
      }
      requireHubGuests(this.config);
      const check = new BootCheck(newBootCheck(request), join(this.root, request.check_id), this.dependencies);
      await check.create(given.disks.map(({ export_key }) => export_key ?? null));
      this.checks.set(request.check_id, check);
      check.start();
      return check.report;
    });
  }

  /** @throws DomainError check_not_found */
  report(checkId: string): NodeBootCheckReport {
    return this.get(checkId).report;
  }

  /** @throws DomainError check_not_found, check_running */
  async artefacts(checkId: string): Promise<NodeBootCheckArtefacts> {
    const check = this.get(checkId);
    if (!check.finished) throw new DomainError('conflict', 'check_running', `Boot check ${checkId} is still running.`, { check_id: checkId });
    return check.artefacts();
  }

  /** Stops a running check and forgets it. A no-op for an unknown check. */
  async settle(checkId: string): Promise<void> {
    await this.lock.runExclusive(checkId, async () => {
      await this.checks.get(checkId)?.stop();
      await rm(join(this.dependencies.runDirectory, checkId), { recursive: true, force: true });
      await rm(join(this.root, checkId), { recursive: true, force: true });
      this.checks.delete(checkId);
    });
  }

  private get(checkId: string): BootCheck {
    const check = this.checks.get(checkId);
    if (check === undefined) throw new DomainError('not_found', 'check_not_found', `This node has no boot check ${checkId}.`, { check_id: checkId });
    return check;
  }
}
