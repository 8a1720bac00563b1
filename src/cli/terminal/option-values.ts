import { InvalidArgumentError } from 'commander';
import { normalisedInstant } from '../../kernel/instant.js';

/** @throws InvalidArgumentError */
export function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}

/** An instant of an option: RFC 3339, or a day, which stands for its first instant in UTC. @throws InvalidArgumentError */
export function instant(text: string): string {
  const found = normalisedInstant(text) ?? normalisedInstant(`${text}T00:00:00Z`);
  if (found === null) throw new InvalidArgumentError('It must be a time, for example 2026-11-21T10:30:00Z, or a day.');
  return found;
}
