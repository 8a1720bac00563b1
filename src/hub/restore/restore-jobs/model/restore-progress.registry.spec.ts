import { describe, expect, it } from '@jest/globals';
import { RestoreProgress } from './restore-progress.registry.js';

describe('the progress of restore jobs', () => {
  it('is sent to a late subscriber at once, then with each change, for one job only', () => {
    const progress = new RestoreProgress();
    progress.set('j1', 0, 'copying', 40);
    const seen: unknown[] = [];
    const following = progress.changes('j1').subscribe(({ disks }) => seen.push(disks));
    progress.set('j2', 0, 'copying', 1);
    progress.set('j1', 0, 'copying', 40);
    progress.set('j1', 0, 'comparing', 0);
    following.unsubscribe();
    progress.set('j1', 0, 'comparing', 50);
    expect(seen).toEqual([[{ disk_id: 0, phase: 'copying', progress_percent: 40 }], [{ disk_id: 0, phase: 'comparing', progress_percent: 0 }]]);
  });

  it('emits nothing for a job that has not begun, and counts a disk being compared as copied', () => {
    const progress = new RestoreProgress();
    const seen: unknown[] = [];
    progress.changes('j1').subscribe((figures) => seen.push(figures));
    expect([seen, progress.copied('j1', 0)]).toEqual([[], null]);
    progress.set('j1', 0, 'comparing', 10);
    expect(progress.copied('j1', 0)).toBe(100);
    progress.forget('j1');
    expect(progress.copied('j1', 0)).toBeNull();
  });
});
