import { registerDecorator, type ValidationArguments } from 'class-validator';
import { parseEventStoreDbUrl } from './eventstoredb-url.js';

type Check = (value: unknown, args: ValidationArguments) => boolean;

/** One rule per field and one sentence per rule, so that an invalid value is reported once and completely. */
function rule(name: string, sentence: string, check: Check): PropertyDecorator {
  return (target, property) => {
    registerDecorator({
      name,
      target: target.constructor,
      propertyName: String(property),
      validator: { validate: (value: unknown, args?: ValidationArguments) => args !== undefined && check(value, args), defaultMessage: () => sentence },
    });
  };
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && !value.includes('\0');
}

function isAbsolutePath(value: unknown): boolean {
  return isText(value) && value.startsWith('/') && !/[\r\n]/.test(value);
}

function isHost(value: unknown): boolean {
  if (!isText(value) || value.length > 253) return false;
  const isIpv6 = value.includes(':') && URL.canParse(`http://[${value}]/`);
  return isIpv6 || /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/i.test(value);
}

function hasProtocol(value: unknown, ...protocols: readonly string[]): boolean {
  return isText(value) && URL.canParse(value) && protocols.includes(new URL(value).protocol);
}

function isEventStoreDbUrl(value: string): boolean {
  try {
    return parseEventStoreDbUrl(value).hosts.length > 0;
  } catch {
    return false;
  }
}

/** The value of another field of the same configuration; null when it is not a number. */
function numberOf(args: ValidationArguments, field: string): number | null {
  const value: unknown = Reflect.get(args.object, field);
  return typeof value === 'number' ? value : null;
}

export function IntegerBetween(least: number, most: number): PropertyDecorator {
  return rule(
    'integerBetween',
    `must be an integer from ${least} to ${most}`,
    (value) => typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most,
  );
}

export function PowerOfTwoBetween(least: number, most: number): PropertyDecorator {
  return rule(
    'powerOfTwoBetween',
    `must be a power of two from ${least} to ${most}`,
    (value) => typeof value === 'number' && value >= least && value <= most && Number.isInteger(Math.log2(value)),
  );
}

/**
 * @param field the other field of the class @param key its name in the file, for the message. Passes when the other field is not a number, which its own rule
 * reports.
 */
export function GreaterThanField(field: string, key: string): PropertyDecorator {
  return rule('greaterThanField', `must be greater than ${key}`, (value, args) => {
    const other = numberOf(args, field);
    return typeof value !== 'number' || other === null || value > other;
  });
}

/** For a port count; the first port is in another field. */
export function PortsFitAfter(field: string, key: string): PropertyDecorator {
  return rule('portsFitAfter', `must not extend past port 65535, counted from ${key}`, (value, args) => {
    const first = numberOf(args, field);
    return typeof value !== 'number' || first === null || first + value - 1 <= 65535;
  });
}

export function AbsolutePath(): PropertyDecorator {
  return rule('absolutePath', 'must be an absolute path', isAbsolutePath);
}

export function AbsolutePaths(): PropertyDecorator {
  return rule('absolutePaths', 'must be a list of absolute paths', (value) => Array.isArray(value) && value.every(isAbsolutePath));
}

export function Host(): PropertyDecorator {
  return rule('host', 'must be a host name or an IP address, without a port', isHost);
}

export function HostOrEmpty(): PropertyDecorator {
  return rule('hostOrEmpty', 'must be a host name or an IP address, without a port, or be empty', (value) => value === '' || isHost(value));
}

export function Flag(): PropertyDecorator {
  return rule('flag', 'must be true or false', (value) => typeof value === 'boolean');
}

export function OneOf(...choices: readonly string[]): PropertyDecorator {
  return rule('oneOf', `must be one of ${choices.join(', ')}`, (value) => typeof value === 'string' && choices.includes(value));
}

/** Addresses of the hubs of a pair, one of which is active. */
export function HttpUrls(): PropertyDecorator {
  return rule(
    'httpUrls',
    'must be a URL that starts with http:// or https://, or several, separated by commas',
    (value) => typeof value === 'string' && value.split(',').every((one) => hasProtocol(one, 'http:', 'https:')),
  );
}

export function LibvirtUri(): PropertyDecorator {
  return rule(
    'libvirtUri',
    'must be the connection URI of a libvirt on this machine, for example qemu:///system, or be empty',
    (value) => value === '' || (typeof value === 'string' && /^qemu(\+unix)?:\/\/\/(system|session)(\?[!-~]*)?$/.test(value)),
  );
}

export function EventStoreDbUrlOrNull(): PropertyDecorator {
  return rule(
    'eventStoreDbUrlOrNull',
    'must be esdb://USER:PASSWORD@HOST:PORT,... or esdb+discover://USER:PASSWORD@NAME:PORT, without a user only if it ends in ?tls=false, or be left out',
    (value) => value === null || (typeof value === 'string' && isEventStoreDbUrl(value)),
  );
}

/** @param field the other field @param choice its value with which this field must not be null @param sentence the rule */
export function NeededWith(field: string, choice: string, sentence: string): PropertyDecorator {
  return rule('neededWith', sentence, (value, args) => value !== null || Reflect.get(args.object, field) !== choice);
}

export function AbsolutePathOrEmpty(): PropertyDecorator {
  return rule('absolutePathOrEmpty', 'must be an absolute path, or be empty', (value) => value === '' || isAbsolutePath(value));
}

export function PostgresUrlOrNull(): PropertyDecorator {
  return rule(
    'postgresUrlOrNull',
    'must be a URL that starts with postgres:// or postgresql://, or be left out',
    (value) => value === null || hasProtocol(value, 'postgres:', 'postgresql:'),
  );
}

export function TokenOrNull(): PropertyDecorator {
  return rule(
    'tokenOrNull',
    'must be 16 to 1024 of the characters a bearer token may have (letters, digits and . _ ~ + / = -), or be left out',
    (value) => value === null || (typeof value === 'string' && /^[A-Za-z0-9._~+/=-]{16,1024}$/.test(value)),
  );
}

export function NameOrNull(): PropertyDecorator {
  return rule(
    'nameOrNull',
    'must be 1 to 64 letters, digits, dots, dashes or underscores, or be left out',
    (value) => value === null || (typeof value === 'string' && /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(value)),
  );
}
