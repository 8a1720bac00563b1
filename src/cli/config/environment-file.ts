import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * The environment that a deployed service with this configuration file runs in. systemd reads `hub.env` from the same directory (EnvironmentFile= of
 * sendense-hub.service); a program started by hand does not. Variables already in the environment win. A missing or unreadable file adds nothing.
 */
export function withEnvironmentFile(
  configFile: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string | undefined>> {
  if (configFile === undefined) return environment;
  let text: string;
  try {
    text = readFileSync(join(dirname(configFile), 'hub.env'), 'utf8');
  } catch {
    return environment;
  }
  return { ...parseEnvironmentFile(text), ...environment };
}

/** Parses `NAME=value` lines, with or without quotes around the value; systemd.exec(5). Continuation lines and escapes are not supported. */
export function parseEnvironmentFile(text: string): Readonly<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const line of text.split('\n')) {
    const [, name, value] = /^\s*([A-Za-z_][A-Za-z0-9_]*)=(.*?)\s*$/.exec(line) ?? [];
    if (name !== undefined && value !== undefined) found[name] = value.replace(/^(["'])(.*)\1$/, '$2');
  }
  return found;
}
