import { Type } from 'class-transformer';
import { IsInt, Max, Min } from 'class-validator';
import { IsUuid } from '../../../../contract/validation/uuid.decorator.js';

export class InclusionQuery {
  /** The event @example "0b7e2a35-90c1-5d53-9c4c-2f5d3c1f0e5b" */
  @IsUuid()
  event_id!: string;
}

export class ConsistencyQuery {
  /** Number of events of the older checkpoint @example 812 */
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(Number.MAX_SAFE_INTEGER)
  from!: number;

  /** Number of events of the newer checkpoint, at least `from` @example 1044 */
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(Number.MAX_SAFE_INTEGER)
  to!: number;
}

export class InclusionProofResponse {
  /** @example "0b7e2a35-90c1-5d53-9c4c-2f5d3c1f0e5b" */ readonly event_id!: string;
  /** @example "backup-0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly stream!: string;
  /** Number within the stream, from 0 @example 0 */ readonly revision!: number;
  /** Number of the event in the ledger, from 0 @example 41 */ readonly leaf_index!: number;
  /** What is hashed: canonical JSON (RFC 8785) @example "{\"data\":{},\"id\":\"0b7e2a35-90c1-5d53-9c4c-2f5d3c1f0e5b\"}" */ readonly leaf!: string;
  /** Base64 @example "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=" */ readonly leaf_hash!: string;
  /** Hashes from the leaf to the root, base64 @example ["CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="] */ readonly proof!: readonly string[];
  /** Signed checkpoint of the tree that the proof is for @example "sendense/h\n42\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n" */
  readonly checkpoint!: string;
}

export class ConsistencyProofResponse {
  /** @example 812 */ readonly from!: number;
  /** @example 1044 */ readonly to!: number;
  /** Hashes that prove that the newer tree begins with the older, base64 @example ["CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="] */
  readonly proof!: readonly string[];
}

export class LedgerKeyResponse {
  /** Verifier key of the checkpoints @example "sendense/0199a3c0-0001-7000-8000-000000000001+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k" */
  readonly key!: string;
}
