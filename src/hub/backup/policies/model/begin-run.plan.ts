import type { OccurrenceEnding, RunIdentity, RunRules, SkipCode } from './occurrence.events.js';
import type { Choice } from './selection.plan.js';
import { admit, jitterSeconds, type RunSettings } from './start-window.plan.js';

/** What the start of a run depends on. */
export interface RunFacts {
  readonly vms: readonly Choice[];
  readonly left_out: readonly Choice[];
  /** null: nothing prevents the run. */
  readonly obstacle: { readonly reason: SkipCode; readonly detail: string } | null;
}

/** What prevents a run whatever the state of nodes and repository. @param running an earlier run that has not finished */
export function obstacleOf(vms: readonly Choice[], running: { readonly wall_time: string; readonly occurrence_id: string } | null): RunFacts['obstacle'] {
  if (vms.length === 0) return { reason: 'no_vm_matched', detail: 'The selection matched no VM.' };
  if (running === null) return null;
  return { reason: 'previous_running', detail: `The run of ${running.wall_time} (${running.occurrence_id}) had not finished.` };
}

/** A node or a repository may be starting, above all together with the hub. */
const PATIENCE_MS = 5 * 60_000;

/** Whether a run that could begin at `since` waits for an obstacle to pass, instead of being skipped for it. Both instants are ISO 8601, UTC. */
export function waitsFor(obstacle: RunFacts['obstacle'], since: string, now: string): boolean {
  const mayPass = obstacle?.reason === 'node_offline' || obstacle?.reason === 'repository_unavailable';
  return mayPass && Date.parse(now) - Date.parse(since) < PATIENCE_MS;
}

/** The end of a run whose time has come: it starts, unless there is an obstacle. */
export function beginRun(
  run: RunIdentity,
  kind: 'start' | 'catch_up',
  settings: RunSettings,
  { vms, left_out, obstacle }: RunFacts,
  now: string,
): OccurrenceEnding {
  if (obstacle !== null) return { type: 'OccurrenceSkipped', data: { ...run, ...obstacle, recorded_at: now } };
  const planned = vms.map((vm) => ({ ...vm, admission: startOf(run, settings, vm.vm_id, now) }));
  const { repository_id, backup_type } = settings;
  const data = {
    ...run,
    repository_id,
    backup_type,
    vms: planned.flatMap(({ admission, ...vm }) => ('start' in admission ? [{ ...vm, start_at: admission.start }] : [])),
    left_out: [
      ...left_out,
      ...planned.flatMap(({ admission, ...vm }) => ('start' in admission ? [] : [{ ...vm, because: 'its place in the spread is outside the start window' }])),
    ],
    started_at: now,
    rules: rulesOf(run, settings),
  };
  if (data.vms.length === 0) {
    const detail = 'The place of each VM in the spread is outside the start window.';
    return { type: 'OccurrenceSkipped', data: { ...run, reason: 'window_closed', detail, recorded_at: now } };
  }
  return { type: kind === 'start' ? 'OccurrenceStarted' : 'OccurrenceCaughtUp', data };
}

function rulesOf({ trigger }: RunIdentity, settings: RunSettings): RunRules {
  const { start_window, blackouts, shared_blackouts = [], run_within = 'finish', concurrency_timeout_seconds = null, verification = null } = settings;
  const binds = run_within === 'cancel' && trigger === 'schedule';
  return { run_within: binds ? { start_window, blackouts, shared_blackouts } : null, concurrency_timeout_seconds, verification };
}

/** A manual run starts at once, whatever the window. */
function startOf({ trigger, policy_id }: RunIdentity, settings: RunSettings, vmId: string, now: string): ReturnType<typeof admit> {
  if (trigger === 'manual') return { start: now };
  const start = new Date(Date.parse(now) + jitterSeconds(policy_id, vmId, settings.spread_seconds) * 1_000).toISOString();
  return admit(start, settings);
}
