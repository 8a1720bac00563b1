import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * The environment that the service with this configuration file gets in a deployment: systemd reads `hub.env` beside it (EnvironmentFile= of sendense-hub.service), and a
 * program that is started by hand does not. What the environment has already counts. A file that is not there or may not be read adds nothing.
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

/** Lines `NAME=value`, the value with or without quotes around it; systemd.exec(5). Continued lines and escapes are not looked for. */
export function parseEnvironmentFile(text: string): Readonly<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const line of text.split('\n')) {
    const [, name, value] = /^\s*([A-Za-z_][A-Za-z0-9_]*)=(.*?)\s*$/.exec(line) ?? [];
    if (name !== undefined && value !== undefined) found[name] = value.replace(/^(["'])(.*)\1$/, '$2');
  }
  return found;
}
