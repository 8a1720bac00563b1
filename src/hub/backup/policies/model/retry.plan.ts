import { mayStart, type StartRules } from './start-window.plan.js';

const MOST_RETRIES = 3;
const PAUSE_MS = 10 * 60_000;

/** Failures that may pass by themselves. */
export const RETRYABLE: ReadonlySet<string> = new Set([
  'disk_in_use',
  'export_exited',
  'export_exited_early',
  'export_handshake_timeout',
  'export_killed',
  'export_port_in_use',
  'image_root_silent',
  'libvirt_unavailable',
  'node_lost_job',
  'node_silent',
  'node_unreachable',
  'read_model_behind',
  'repository_unavailable',
  'restore_point_being_rewritten',
  'snapshot_failed',
  'snapshot_lost',
  'source_changed',
  'source_silent',
  'storage_unavailable',
  'tool_killed',
  'tool_timeout',
  'transfer_failed',
  'vm_busy',
  'vm_busy_elsewhere',
]);

/** When a VM's backup is tried again; null: not at all. */
export function retryAt(
  failed: { readonly trigger: 'schedule' | 'manual'; readonly attempt: number; readonly code: string; readonly at: string },
  rules: StartRules,
): string | null {
  if (failed.trigger === 'manual' || failed.attempt > MOST_RETRIES || !RETRYABLE.has(failed.code)) return null;
  const at = new Date(Date.parse(failed.at) + PAUSE_MS).toISOString();
  return mayStart(at, rules) ? at : null;
}
