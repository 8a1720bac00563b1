import type { BootArtefact, VerificationFinding } from '../../src/hub/backup/verifications/model/verification.events.js';
import type { HealedFile } from '../../src/kernel/healed-file.js';
import {
  bigint,
  boolean,
  instant,
  integer,
  json,
  position,
  text,
  type EntityOf,
  readModel,
  type RowOf,
} from '../../src/hub/store/postgres/read-model-definition.js';

export type BootRow = {
  readonly node_id: string;
  readonly console_text: string | null;
  readonly guest_agent: boolean;
  readonly timeout_seconds: number;
  readonly status: 'pending' | 'running' | 'booted' | 'not_booted';
  readonly attempt: number;
  readonly sign: 'console_text' | 'guest_agent' | null;
  readonly detail: string | null;
  readonly seconds: number | null;
  readonly changes: readonly { readonly code: string; readonly detail: string }[];
  readonly artefacts: readonly BootArtefact[];
  readonly screenshot_problem: string | null;
};

export const VerificationReadModel = readModel({
  name: 'verifications',
  key: 'verification_id',
  columns: {
    verification_id: text(),
    backup_id: text(),
    vm_id: text(),
    vm_name: text(),
    repository_id: text(),
    chain_id: text(),
    status: text<'running' | 'passed' | 'failed' | 'aborted'>(),
    findings: json<readonly VerificationFinding[]>(),
    files_checked: integer().nullable(),
    bytes_checked: bigint().nullable(),
    error: json<{ readonly code: string; readonly detail: string }>().nullable(),
    requested_at: instant(),
    ended_at: instant().nullable(),
    created_position: position(),
    /** Whether damaged files are written again. */
    heal: boolean(),
    healed: json<readonly (HealedFile & { readonly backup_id: string })[]>(),
    unhealed: json<readonly { readonly backup_id: string; readonly code: string; readonly detail: string }[]>(),
    /** null: not requested. */
    boot: json<BootRow>().nullable(),
  },
  indexes: ['(backup_id, created_position)', '(status)'],
});
export type VerificationReadModel = EntityOf<typeof VerificationReadModel>;
export type VerificationRow = RowOf<typeof VerificationReadModel>;
