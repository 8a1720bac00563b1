const REDACTED = '[redacted]';

/** Members whose values never reach a log, at any depth. */
const SECRET_NAME = /^(authorization|proxy-authorization|cookie|set-cookie|.*(password|passwd|secret|token|api_?key|private_?key|credentials?))$/i;
/** The location of a secret is harmless. */
const HARMLESS_NAME = /(file|path)$/i;

const MAX_DEPTH = 8;

/** Blanks secrets inside text: `Bearer ...`, and the password in a URL. */
export function redactText(text: string): string {
  return text
    .replace(/\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]+/gi, `$1 ${REDACTED}`)
    .replace(/\b([a-z][a-z0-9+.-]*:\/\/[^\s:/@]*):[^\s/@]+@/gi, `$1:${REDACTED}@`);
}

/** A copy without secrets. Errors become plain members (name, message, stack, cause and their own). */
export function redactMembers(value: object, depth = 0): Record<string, unknown> {
  const members: [string, unknown][] = Object.entries(value);
  if (isError(value)) {
    members.unshift(['name', value.name], ['message', value.message], ['stack', value.stack]);
    if (value.cause !== undefined) members.push(['cause', value.cause]);
  }
  return Object.fromEntries(members.map(([name, member]) => [name, isSecret(name) ? REDACTED : redact(member, depth + 1)]));
}

function redact(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return redactText(value);
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  if (depth >= MAX_DEPTH) return '[nested too deep]';
  return Array.isArray(value) ? value.map((member) => redact(member, depth + 1)) : redactMembers(value, depth);
}

function isSecret(name: string): boolean {
  return SECRET_NAME.test(name) && !HARMLESS_NAME.test(name);
}

/** Also recognises errors of another realm (a worker, a sandbox), for which `instanceof` fails. */
export function isError(value: unknown): value is Error {
  return value instanceof Error || Object.prototype.toString.call(value) === '[object Error]';
}
