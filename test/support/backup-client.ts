import { expect } from '@jest/globals';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { StreamEventResponse } from '../../src/hub/operations/http/event-history.js';
import { isAtRest } from '../../src/hub/backup/backups/follow-backup-events/follow-backup-events.plan.js';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import { type ApiAnswer, type HubSystem, until } from './hub-system.js';

export interface Problem {
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly detail: string;
  readonly correlation_id: string;
  readonly [fact: string]: unknown;
}

export interface Port {
  readonly port: number;
  readonly state: string;
  readonly job_id: string | null;
  readonly export_name: string | null;
}

const HOLD_PATIENCE_MS = 60_000;

export type BackupType = 'full' | 'incremental' | 'auto';

/** As lists show it: its copies and the lock of its files are in the answer of GET /backups/{id} alone. */
export function listed(backup: BackupResponse): BackupResponse {
  const shown = Object.entries(backup).filter(([name]) => name !== 'copies' && name !== 'lock');
  return Object.fromEntries(shown) as unknown as BackupResponse;
}

/** What a user does with the API of a hub under test, and what must be left of it when all is over. */
export class BackupClient {
  constructor(private readonly system: HubSystem) {}

  async createRepository(name: string, path: string): Promise<string> {
    const { status, body } = await this.system.api<{ repository_id: string }>('POST', '/repositories', { name, type: 'local', path });
    requireStatus(201, status, body);
    return body.repository_id;
  }

  async registerVm(name: string, folder: string, nodeId?: string, source = 'image'): Promise<string> {
    const request = { name, source, source_ref: folder, ...(nodeId === undefined ? {} : { node_id: nodeId }) };
    const { status, body } = await this.system.api<{ vm_id: string }>('POST', '/vms', request);
    requireStatus(201, status, body);
    return body.vm_id;
  }

  async registerDomain(name: string, uuid: string): Promise<string> {
    return this.registerVm(name, uuid, undefined, 'libvirt');
  }

  start(vmName: string, repositoryId: string, type: BackupType, headers: Readonly<Record<string, string>> = {}): Promise<ApiAnswer<BackupResponse>> {
    return this.system.api('POST', '/backups', { vm_name: vmName, repository_id: repositoryId, backup_type: type }, headers);
  }

  /** A backup that must be accepted. */
  async started(vmName: string, repositoryId: string, type: BackupType): Promise<BackupResponse> {
    const { status, body } = await this.start(vmName, repositoryId, type);
    requireStatus(202, status, body);
    return body;
  }

  /** A backup that must be refused. */
  async refused(vmName: string, repositoryId: string, type: BackupType): Promise<Problem> {
    return this.problem('POST', '/backups', { vm_name: vmName, repository_id: repositoryId, backup_type: type });
  }

  async problem(method: string, path: string, body?: object, headers: Readonly<Record<string, string>> = {}): Promise<Problem> {
    const answer = await this.system.api<Problem>(method, path, body, headers);
    expect({ type: answer.headers.get('content-type'), body: answer.body }).toMatchObject({ type: expect.stringContaining('application/problem+json') });
    expect(answer.body.status).toBe(answer.status);
    expect(answer.body.correlation_id).not.toBe('');
    return answer.body;
  }

  async get(backupId: string): Promise<BackupResponse> {
    return (await this.system.api<BackupResponse>('GET', `/backups/${backupId}`)).body;
  }

  async events(backupId: string): Promise<StreamEventResponse[]> {
    return (await this.system.api<{ events: StreamEventResponse[] }>('GET', `/backups/${backupId}/events`)).body.events;
  }

  async eventTypes(backupId: string): Promise<string[]> {
    return (await this.events(backupId)).map(({ type }) => type);
  }

  /** Waits until nothing more is to be done for the backup, undoing and tidying up included. */
  async atRest(backupId: string): Promise<BackupResponse> {
    let types: string[] = [];
    const newest = await until(`backup ${backupId} to come to rest`, async () => {
      const events = await this.events(backupId);
      types = events.map(({ type }) => type);
      return isAtRest(new Set(types)) ? (events.at(-1)?.position ?? null) : null;
    }).catch((error: unknown) => {
      throw new Error(`its events are ${types.join(', ')}`, { cause: error });
    });
    return (await this.system.api<BackupResponse>('GET', `/backups/${backupId}?after=${newest}`)).body;
  }

  /** A backup from its request to its end, which must be a good one. */
  async backUp(vmName: string, repositoryId: string, type: BackupType): Promise<BackupResponse> {
    const { backup_id } = await this.started(vmName, repositoryId, type);
    const backup = await this.atRest(backup_id);
    if (backup.status !== 'completed') throw new Error(`backup of ${vmName} ${backup.status}: ${JSON.stringify(backup.error)}`);
    return backup;
  }

  async newest(vmName: string): Promise<BackupResponse> {
    const { body } = await this.system.api<{ backups: BackupResponse[] }>('GET', `/backups?vm_name=${encodeURIComponent(vmName)}&limit=1`);
    const [backup] = body.backups;
    if (backup === undefined) throw new Error(`VM ${vmName} has no backups`);
    return backup;
  }

  async ports(state: string): Promise<Port[]> {
    return (await this.system.api<{ ports: Port[] }>('GET', `/nbd/ports?state=${state}&limit=1000`)).body.ports;
  }

  /** What the system holds apart from its restore points, which must be nothing when no backup runs. */
  async held(): Promise<{ readonly ports: readonly Port[]; readonly processes: readonly unknown[]; readonly programs: readonly string[] }> {
    const { body } = await this.system.api<{ processes: unknown[] }>('GET', '/nbd/processes');
    return { ports: await this.ports('allocated'), processes: body.processes, programs: await this.system.toolProcesses() };
  }

  async requireNothingHeld(): Promise<void> {
    // Something may be about to go, or be one of the looks that a node has into its images after its start.
    let last = await this.held();
    const isEmpty = async (): Promise<boolean> => {
      last = await this.held();
      return last.ports.length + last.processes.length + last.programs.length === 0;
    };
    await until('everything to be given back', isEmpty, HOLD_PATIENCE_MS).catch(() => undefined);
    expect(last).toEqual({ ports: [], processes: [], programs: [] });
  }
}

/** Unlike an expectation it shows the whole answer, which says why. */
function requireStatus(wanted: number, status: number, body: unknown): void {
  if (status !== wanted) throw new Error(`answered ${status} instead of ${wanted}: ${JSON.stringify(body)}`);
}

/** Every file below a directory with its length and time of change: what must be the same before and after something that was refused. */
export async function filesBelow(directory: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const { size, mtimeMs } = await stat(path);
    found[path.slice(directory.length + 1)] = entry.isDirectory() ? 'directory' : `${size} bytes, ${mtimeMs}`;
  }
  return found;
}
