import { IsString, Matches, MaxLength, registerDecorator } from 'class-validator';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

/** Accepts http or https, a host and an optional port only: credentials in a URL would be recorded in an event. */
function isNodeUrl(value: unknown): boolean {
  if (typeof value !== 'string' || !URL.canParse(value)) return false;
  const url = new URL(value);
  const bare = url.username === '' && url.password === '' && url.pathname === '/' && url.search === '' && url.hash === '';
  return bare && (url.protocol === 'http:' || url.protocol === 'https:');
}

const IsNodeUrl: PropertyDecorator = (target, property) => {
  registerDecorator({
    name: 'nodeUrl',
    target: target.constructor,
    propertyName: String(property),
    validator: { validate: isNodeUrl, defaultMessage: () => 'url must be http://host:port or https://host:port, without credentials, path or query' },
  });
};

export class RegisterNodeDto {
  /** Unique display name @example "rack-1" */
  @IsString()
  @MaxLength(128)
  @Matches(/^(?!\s)[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]+(?<!\s)$/u, { message: 'name must have no control characters and neither begin nor end with a space' })
  readonly name!: string;

  /** Address of the node. If omitted, an enrolment starts and the response contains a pairing code @example "http://127.0.0.1:9081" */
  @Optional()
  @IsString()
  @MaxLength(300)
  @IsNodeUrl
  readonly url?: string;
}

export class RegisteredNodeDto {
  /** The node's own id; for an enrolment, the id that the node will have @example "0193a5c2-7d1e-7000-8000-000000000002" */
  readonly node_id!: string;
  /** @example "rack-1" */ readonly name!: string;
  /** @example "http://127.0.0.1:9081" */ readonly url!: string;
  /** Only for an enrolment */ readonly state?: 'pairing';
  /**
   * Only for an enrolment: a secret for `sendense node enrol` on the node. It is shown once and can be used once
   * @example "sendense-tunnel@hub.example.org:9022/AbC.../9080/0193a5c2-7d1e-7000-8000-000000000002/xYz..."
   */
  readonly pairing_code?: string;
  /** When the pairing code expires @example "2026-11-21T10:45:00.000Z" */ readonly expires_at?: string;
  /** For ?after= @example "0000000000000000042" */ readonly position!: string | null;
}
