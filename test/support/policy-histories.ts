import type { PolicyFacts } from '../../src/hub/backup/policies/model/policy-rules.decide.js';
import type { PolicyEvent, PolicySettings } from '../../src/hub/backup/policies/model/policy.events.js';

/** A policy for all VMs, and what it is checked against. */
export const POLICY_SETTINGS: PolicySettings = {
  name: 'nightly',
  enabled: true,
  time_zone: 'UTC',
  schedule: 'daily at 22:00',
  include: [{ by: 'name', value: '*' }],
  exclude: [],
  opt_outs: [],
  repository_id: 'r1',
  backup_type: 'auto',
  spread_seconds: 0,
  start_window: null,
  blackouts: [],
  catch_up: 'latest',
};
export const POLICY_FACTS: PolicyFacts = {
  vms: [{ vm_id: 'v1', name: 'web-1', node_id: 'n1', source: 'image', labels: [] }],
  others: [],
  repository_exists: true,
  unknown_copy_targets: [],
  blackout_ids: [],
  at: '2027-01-05T12:00:00.000Z',
};
export const POLICY_CREATED: PolicyEvent = {
  type: 'PolicyCreated',
  data: { policy_id: 'p1', version: 1, settings: POLICY_SETTINGS, created_at: '2027-01-01T12:00:00.000Z' },
};
export const POLICY_DELETED: PolicyEvent = { type: 'PolicyDeleted', data: { deleted_at: '2027-01-02T12:00:00.000Z' } };
