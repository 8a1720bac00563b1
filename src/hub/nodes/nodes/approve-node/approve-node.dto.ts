import { TextLike } from '../../../../contract/validation/member.decorators.js';
import { KEY_FINGERPRINT } from '../../../../contract/words.js';

export class ApproveNodeDto {
  /** As shown by `sendense node enrol` and `ssh-keygen -l` @example "SHA256:M0jZ0p4mJzL1d4x0a6wT1r0z2mZ9m3Jd7hXb1u5n3aQ" */
  @TextLike(KEY_FINGERPRINT, 'public_key_fingerprint must be of the form SHA256:<43 characters>')
  readonly public_key_fingerprint!: string;
}

export class ApprovedNodeDto {
  /** @example "0199a3c0-0001-7000-8000-00000000000a" */ readonly node_id!: string;
  /** @example "SHA256:M0jZ0p4mJzL1d4x0a6wT1r0z2mZ9m3Jd7hXb1u5n3aQ" */ readonly public_key_fingerprint!: string;
  /** For ?after= @example "0000000000000000042" */ readonly position!: string | null;
}
