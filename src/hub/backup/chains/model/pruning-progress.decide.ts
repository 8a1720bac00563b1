import type { ChainEvent, RewrittenPoint } from './chain.events.js';
import type { ChainState } from './chain.state.js';

export type PruningProgress =
  | { readonly kind: 'rewrite_started'; readonly point: RewrittenPoint; readonly at: string }
  | { readonly kind: 'rewritten'; readonly point: RewrittenPoint; readonly manifest_sha256: string; readonly at: string }
  | { readonly kind: 'failed'; readonly code: string; readonly detail: string; readonly at: string };

/** What the hub did of a pruning. A restore point is rewritten only after the intent is recorded, and a pruning does not fail while files may be replaced. */
export function decidePruningProgress(progress: PruningProgress, state: ChainState): readonly ChainEvent[] {
  if (state.status === 'none') return [];
  switch (progress.kind) {
    case 'rewrite_started':
      if (!state.points.includes(progress.point.backup_id)) throw new Error(`restore point ${progress.point.backup_id} is not in its chain`);
      return [{ type: 'RestorePointRewriteStarted', data: { ...progress.point, started_at: progress.at } }];
    case 'rewritten':
      if (state.rewriting?.backup_id !== progress.point.backup_id) return [];
      return [{ type: 'RestorePointRewritten', data: { ...progress.point, manifest_sha256: progress.manifest_sha256, rewritten_at: progress.at } }];
    case 'failed':
      if (state.pruning.length === 0 || state.rewriting !== null) return [];
      return [{ type: 'PruningFailed', data: { code: progress.code, detail: progress.detail, failed_at: progress.at } }];
  }
}
