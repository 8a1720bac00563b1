import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { PresentOnly } from '../../../../lib/http/query.guard.js';
import { Streams } from '../../../operations/http/stream-limits.js';
import { VerifyHistory } from './verify-history.service.js';

export class DisagreementResponse {
  /** Number of the event in the ledger, from 0 @example 41 */ readonly leaf_index!: number;
  /** Position of the event that the store has there; null: it has none @example "0000000000000000042" */ readonly position!: string | null;
  /** @example "backup-0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly stream!: string | null;
  /** @example 0 */ readonly revision!: number | null;
  /** @example "0b7e2a35-90c1-5d53-9c4c-2f5d3c1f0e5b" */ readonly event_id!: string | null;
  /** @example "The event is not the one that the ledger has recorded: it was changed, inserted or moved, or one before it was removed." */
  readonly detail!: string;
}

export class HistoryVerdictResponse {
  /** Whether the store still has the events that the ledger has recorded, and the audit log shows these @example true */ readonly verified!: boolean;
  /** Number of events that the ledger covers @example 42 */ readonly tree_size!: number;
  /** Base64 @example "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=" */ readonly root_hash!: string;
  /** The first event at which they disagree */ readonly first_disagreement!: DisagreementResponse | null;
}

@ApiTags('audit')
@PresentOnly()
@Controller('audit')
export class VerifyHistoryController {
  constructor(private readonly history: VerifyHistory) {}

  @Get('verify')
  @Streams('download')
  @ApiOperation({
    summary: 'Compare all events with the ledger, and the audit log with the events',
    description:
      'Reads the whole store and the audit log, which takes long in a long history. It trusts the database for the ledger; `sendense ledger verify` need not.',
  })
  @ApiOkResponse({ type: HistoryVerdictResponse })
  async verify(): Promise<HistoryVerdictResponse> {
    const { size, root, disagreement, rootDiffers } = await this.history.verify();
    const verdict = { tree_size: size, root_hash: root.toString('base64') };
    if (disagreement === null && !rootDiffers) return { ...verdict, verified: true, first_disagreement: null };
    const event = disagreement?.event ?? null;
    const detail = rootDiffers
      ? 'The hashes of the events are those of the ledger, but do not add up to its root: the ledger itself was changed.'
      : disagreement?.with === 'audit_log'
        ? 'The event is the one that the ledger has recorded, but the audit log shows another: the read model was changed. POST /projections/audit_events/rebuild builds it again.'
        : event === null
          ? 'The store has fewer events than the ledger: the newest were removed.'
          : 'The event is not the one that the ledger has recorded: it was changed, inserted or moved, or one before it was removed.';
    const first_disagreement = {
      leaf_index: disagreement?.index ?? size,
      position: event?.position ?? null,
      stream: event?.stream ?? null,
      revision: event?.revision ?? null,
      event_id: event?.id ?? null,
      detail,
    };
    return { ...verdict, verified: false, first_disagreement };
  }
}
