import { describe, it } from '@jest/globals';
import { copyHistories, copyPlan, copyProof } from '../../../../../test/support/copy-histories.js';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { evolveCopy, initialCopyState } from './copy.state.js';
import { decideCopyStep } from './record-copy.decide.js';

const { given } = specificationOf({ initialState: initialCopyState, evolve: evolveCopy, decide: decideCopyStep });
const away = { kind: 'interrupted', code: 'repository_unavailable', detail: 'gone', at: 'now', progressed: false } as const;
const damage = { code: 'file_altered', file: 'f', detail: 'altered', detected_at: 'now', ranges: [], verification_id: null } as const;

describe('what is observed of a copy', () => {
  it('is planned, and again when the files of the source were replaced', () => {
    given(...copyHistories.requested)
      .when({ kind: 'planned', data: copyPlan })
      .thenTypes('CopyPlanned');
    given(...copyHistories.planned)
      .when({ kind: 'planned', data: copyPlan })
      .thenTypes('CopyPlanned');
    given(...copyHistories.verified)
      .when({ kind: 'planned', data: copyPlan })
      .then();
  });

  it('records a cause that stays once, and again after progress or for another cause', () => {
    given(...copyHistories.planned)
      .when(away)
      .thenTypes('CopyInterrupted');
    given(...copyHistories.interrupted)
      .when(away)
      .then();
    given(...copyHistories.interrupted)
      .when({ ...away, progressed: true })
      .thenTypes('CopyInterrupted');
    given(...copyHistories.interrupted)
      .when({ ...away, code: 'repository_full' })
      .thenTypes('CopyInterrupted');
  });

  it('is verified before it is complete, each once', () => {
    given(...copyHistories.planned)
      .when({ kind: 'completed', at: 'now', locked_until: null })
      .then();
    given(...copyHistories.planned)
      .when({ kind: 'verified', data: copyProof })
      .thenTypes('CopyVerified');
    given(...copyHistories.verified)
      .when({ kind: 'completed', at: 'now', locked_until: null })
      .thenTypes('CopyCompleted');
    given(...copyHistories.completed)
      .when({ kind: 'completed', at: 'now', locked_until: null })
      .then();
  });

  it('is locked when it is complete', () => {
    given(...copyHistories.verified)
      .when({ kind: 'completed', at: 'now', locked_until: 'later' })
      .then({ type: 'CopyCompleted', data: { completed_at: 'now' } }, { type: 'CopyLocked', data: { locked_until: 'later' } });
  });

  it('is ignored once the copy was cancelled', () => {
    for (const step of [away, { kind: 'verified', data: copyProof } as const, { kind: 'failed', code: 'c', detail: 'd', at: 'now' } as const]) {
      given(...copyHistories.cancelled)
        .when(step)
        .then();
    }
  });

  it('records the removal of what it has written by the reason for it', () => {
    const step = { kind: 'removed', at: 'now' } as const;
    given(...copyHistories.failed)
      .when(step)
      .thenTypes('CopyUndone');
    given(...copyHistories.cancelled)
      .when(step)
      .thenTypes('CopyUndone');
    given(...copyHistories.deleted)
      .when(step)
      .thenTypes('CopyFilesRemoved');
    given(...copyHistories.deleted, { type: 'CopyFilesRemoved', data: { removed_at: 'now' } })
      .when(step)
      .then();
    given(...copyHistories.completed)
      .when(step)
      .then();
  });

  it('is damaged only as a restore point, and only once', () => {
    given(...copyHistories.planned)
      .when({ kind: 'damaged', data: damage })
      .then();
    given(...copyHistories.completed)
      .when({ kind: 'damaged', data: damage })
      .thenTypes('CopyDamagedV2');
    given(...copyHistories.completed, { type: 'CopyDamagedV2', data: damage })
      .when({ kind: 'damaged', data: damage })
      .then();
  });

  it('is found sound while no damage is known, and healed once', () => {
    const checked = { kind: 'checked', verification_id: 'ver1', at: 'now' } as const;
    const healed = { kind: 'healed', data: { files: [], verification_id: 'ver1', healed_at: 'now' } } as const;
    const isDamaged = { type: 'CopyDamagedV2', data: damage } as const;
    given(...copyHistories.completed)
      .when(checked)
      .then({ type: 'CopyChecked', data: { verification_id: 'ver1', checked_at: 'now' } });
    given(...copyHistories.completed, isDamaged)
      .when(checked)
      .then();
    given(...copyHistories.completed, isDamaged)
      .when(healed)
      .thenTypes('CopyHealed');
    given(...copyHistories.completed, isDamaged, { type: 'CopyHealed', data: healed.data })
      .when(healed)
      .then();
    given(...copyHistories.deleted)
      .when(healed)
      .then();
  });
});
