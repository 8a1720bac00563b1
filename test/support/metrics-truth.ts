import { expect } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import type { HubSystem } from './hub-system.js';

type Samples = ReadonlyMap<string, number>;

/** Compares every metric of a hub at rest, or whose backups are held up, with what REST says. A metric that is not compared fails. */
export async function requireTrueMetrics(system: HubSystem): Promise<void> {
  const samples = await scrape(system);
  const sample = (name: string): number => samples.get(name) ?? Number.NaN;
  const get = async <Body>(path: string): Promise<Body> => (await system.api<Body>('GET', path)).body;

  const backups: BackupResponse[] = [];
  for (let cursor: string | null = ''; cursor !== null;) {
    const page: { backups: readonly BackupResponse[]; next_cursor: string | null } = await get(`/backups?limit=50${cursor === '' ? '' : `&cursor=${cursor}`}`);
    backups.push(...page.backups);
    cursor = page.next_cursor;
  }
  for (const status of ['pending', 'running', 'completed', 'failed', 'cancelled'] as const) {
    expect([status, sample(`sendense_backups{status="${status}"}`)]).toEqual([status, backups.filter((backup) => backup.status === status).length]);
  }
  const newest = new Map<string, number>();
  for (const { status, vm_name, completed_at } of backups) {
    if (status === 'completed' && completed_at !== null) newest.set(vm_name, Math.max(newest.get(vm_name) ?? 0, Date.parse(completed_at) / 1000));
  }
  expect(labelled(samples, 'sendense_last_completed_backup_timestamp_seconds', 'vm')).toEqual(newest);

  const vms = (await get<{ vms: readonly { vm_id: string; name: string }[] }>('/vms?limit=1000')).vms;
  expect([...labelled(samples, 'sendense_vms', 'rpo').values()].reduce((sum, number) => sum + number, 0)).toBe(vms.length);
  const good = new Set(backups.flatMap(({ status, damage, vm_id }) => (status === 'completed' && damage === null ? [vm_id] : [])));
  const ages = labelled(samples, 'sendense_newest_restore_point_age_seconds', 'vm');
  expect(new Set(ages.keys())).toEqual(new Set(vms.flatMap(({ vm_id, name }) => (good.has(vm_id) ? [name] : []))));
  for (const age of ages.values()) expect(age).toBeLessThan(3600);
  expect(sample('sendense_damaged_restore_points')).toBe(backups.filter(({ status, damage }) => status === 'completed' && damage !== null).length);

  const { free, allocated, occupied } = await get<{ free: number; allocated: number; occupied: number }>('/nbd/ports/metrics');
  expect(labelled(samples, 'sendense_nbd_ports', 'state')).toEqual(new Map(Object.entries({ allocated, occupied, free })));
  const serving = backups.filter(({ status }) => status === 'running').flatMap(({ disk_results }) => disk_results).length;
  expect(sample('sendense_nbd_exports_running')).toBe(serving);
  const { nodes } = await get<{ nodes: readonly { name: string; state: string }[] }>('/nodes');
  expect(labelled(samples, 'sendense_node_reachable', 'node')).toEqual(new Map(nodes.map(({ name, state }) => [name, state === 'reachable' ? 1 : 0])));

  const { repositories } = await get<{
    repositories: readonly { repository_id: string; name: string; capacity: { total_bytes: number; free_bytes: number } | null }[];
  }>('/repositories');
  const measured = repositories.flatMap(({ name, capacity }) => (capacity === null ? [] : [[name, capacity] as const]));
  expect(labelled(samples, 'sendense_repository_total_bytes', 'repository')).toEqual(new Map(measured.map(([name, of]) => [name, of.total_bytes])));
  expect(labelled(samples, 'sendense_repository_free_bytes', 'repository')).toEqual(new Map(measured.map(([name, of]) => [name, of.free_bytes])));
  expect(labelled(samples, 'sendense_repository_level', 'repository').size).toBe(measured.length);
  const locks = await Promise.all(
    repositories.map(({ repository_id }) => get<{ locks: { locked: number; unconfirmed_since: string | null } | null }>(`/repositories/${repository_id}`)),
  );
  const valuesOf = (family: string): readonly number[] => [...samples].flatMap(([name, value]) => (name.startsWith(`${family}{`) ? [value] : []));
  expect(valuesOf('sendense_repository_locked_restore_points').reduce((sum, value) => sum + value, 0)).toBe(
    locks.reduce((sum, of) => sum + (of.locks?.locked ?? 0), 0),
  );
  expect(valuesOf('sendense_repository_lock_unconfirmed_seconds').some((seconds) => seconds > 0)).toBe(
    locks.some((of) => (of.locks?.unconfirmed_since ?? null) !== null),
  );

  const { projections } = await get<{ projections: readonly { name: string; halted: object | null; lag_seconds: number; head_position: string }[] }>(
    '/projections',
  );
  expect(labelled(samples, 'sendense_projection_halted', 'projection')).toEqual(
    new Map(projections.map(({ name, halted }) => [name, halted === null ? 0 : 1])),
  );
  expect(labelled(samples, 'sendense_projection_lag_seconds', 'projection')).toEqual(new Map(projections.map(({ name, lag_seconds }) => [name, lag_seconds])));
  // One hub has folded everything that is in its store, and positions of PostgreSQL count its events.
  const head = projections[0]?.head_position ?? '';
  const events = sample('sendense_projection_events_total{projection="audit_events"}');
  if (head.length === 19) expect(events).toBe(Number(head));
  else expect(events).toBeGreaterThan(0);
  expect(sample('sendense_projection_delay_seconds_count{projection="audit_events"}')).toBeGreaterThan(0);
  expect(sample('sendense_http_request_duration_seconds_count{method="GET",route="/api/v1/nbd/ports/metrics",status="200"}')).toBeGreaterThan(0);
  const role = await get<{ role: string; term: number; since: string; standby: object | null }>('/hub');
  expect([role.role, role.standby]).toEqual(['active', null]);
  expect([sample('sendense_hub_active'), sample('sendense_hub_term'), sample('sendense_hub_standby_ready')]).toEqual([1, role.term, 0]);
  expect(sample('sendense_hub_term_start_timestamp_seconds')).toBe(Date.parse(role.since) / 1000);
  expect(sample('sendense_hub_lease_age_seconds')).toBeGreaterThanOrEqual(0);
  const covered = sample('sendense_ledger_events');
  expect(covered).toBeGreaterThan(0);
  if (head.length === 19) expect(covered).toBeLessThanOrEqual(Number(head));
  expect([sample('sendense_ledger_checkpoint_refused'), sample('sendense_ledger_checkpoint_failures_total')]).toEqual([0, 0]);
  // Without a checkpoint there is no sample.
  expect(samples.get('sendense_ledger_checkpoint_events') ?? 0).toBeLessThanOrEqual(covered);
  expect(samples.get('sendense_ledger_checkpoint_timestamp_seconds') ?? 0).toBeLessThanOrEqual(Date.now() / 1000);
  // Nobody follows events or downloads while this looks.
  expect([...samples].filter(([name, value]) => /^sendense_open_streams\b/.test(name) && value !== 0)).toEqual([]);
  expect([...samples.keys()].filter((name) => name.startsWith('sendense_metric_collection_failures_total{'))).toEqual([]);

  const families = new Set(
    [...samples.keys()].filter((name) => name.startsWith('sendense_')).map((name) => name.replace(/(_bucket|_sum|_count)?(\{.*)?$/, '')),
  );
  expect(COMPARED).toEqual(expect.arrayContaining([...families]));
}

const COMPARED = [
  'sendense_backups',
  'sendense_damaged_restore_points',
  'sendense_newest_restore_point_age_seconds',
  'sendense_vms',
  'sendense_http_request_duration_seconds',
  'sendense_hub_active',
  'sendense_hub_lease_age_seconds',
  'sendense_hub_standby_ready',
  'sendense_hub_term',
  'sendense_ledger_checkpoint_events',
  'sendense_ledger_checkpoint_failures_total',
  'sendense_ledger_checkpoint_refused',
  'sendense_ledger_checkpoint_timestamp_seconds',
  'sendense_ledger_events',
  'sendense_hub_term_start_timestamp_seconds',
  'sendense_last_completed_backup_timestamp_seconds',
  'sendense_nbd_exports_running',
  'sendense_nbd_ports',
  'sendense_node_reachable',
  'sendense_open_streams',
  'sendense_repository_free_bytes',
  'sendense_repository_level',
  'sendense_repository_lock_unconfirmed_seconds',
  'sendense_repository_locked_restore_points',
  'sendense_repository_total_bytes',
  'sendense_projection_delay_seconds',
  'sendense_projection_events_total',
  'sendense_projection_halted',
  'sendense_projection_lag_seconds',
];

async function scrape(system: HubSystem): Promise<Samples> {
  const token = readFileSync(join(system.dataDirectory, 'api.token'), 'utf8').trim();
  const headers = { authorization: `Bearer ${token}` };
  // Once before, so that the requests of the comparison are among those that were counted.
  await fetch(`${system.url()}/api/v1/nbd/ports/metrics`, { headers });
  const text = await (await fetch(`${system.url()}/api/v1/metrics`, { headers })).text();
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]));
}

/** By the value of its only label. */
function labelled(samples: Samples, name: string, label: string): ReadonlyMap<string, number> {
  const prefix = `${name}{${label}="`;
  return new Map([...samples].filter(([sample]) => sample.startsWith(prefix)).map(([sample, value]) => [sample.slice(prefix.length, -2), value]));
}
