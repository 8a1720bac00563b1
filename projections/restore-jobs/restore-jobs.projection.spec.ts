import { describe, expect, it } from '@jest/globals';
import type { JsonObject } from '../../src/kernel/json.js';
import type { RecordedEvent } from '../../src/hub/store/event-store/event-store.port.js';
import { foldFromZero } from '../../src/hub/store/postgres/projection-definition.js';
import { goldenHistory } from '../../test/support/golden-streams.js';
import { restoreJobsProjection } from './restore-jobs.projection.js';

function golden(type: string, change: JsonObject): RecordedEvent {
  const event = goldenHistory().find((one) => one.type === type);
  if (event === undefined) throw new Error(`no golden stream has ${type}`);
  return { ...event, data: { ...event.data, ...change } };
}

describe('restore jobs stored with null in place of a default', () => {
  it('fold to the defaults for a restore of disks', () => {
    const [folded] = foldFromZero(restoreJobsProjection, [golden('RestoreJobRequested', { overwrite: null, chain: null })]);
    expect(folded?.row).toMatchObject({ overwrite: false, chain: 'flattened' });
  });

  it('fold to the defaults for a restored VM', () => {
    const [folded] = foldFromZero(restoreJobsProjection, [golden('VmRestoreRequested', { keep_identity: null, start: null, network: null })]);
    expect(folded?.row['vm']).toMatchObject({ keep_identity: false, start: false, network: 'keep' });
  });
});
