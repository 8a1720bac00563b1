import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { validateSync } from 'class-validator';
import { parseDocument } from 'yaml';

/** A configuration class: every field has a default and a rule. */
export interface LoadableConfig {
  /** Fields for which an empty value means a path below the data directory, or an absolute one. */
  pathsInDataDirectory(): Readonly<Record<string, string>>;
  /** Fields whose value must not appear in a message. */
  secretFields(): readonly string[];
  /** Fields whose value may change while the program runs; they are read at each use. */
  reloadableFields(): readonly string[];
}

/** Settings without secrets and without paths below a data directory, none of which changes while the program runs. */
export abstract class FixedConfig implements LoadableConfig {
  pathsInDataDirectory(): Readonly<Record<string, string>> {
    return {};
  }

  secretFields(): readonly string[] {
    return [];
  }

  reloadableFields(): readonly string[] {
    return [];
  }
}

/** The configuration is invalid. Every problem has its own line, without the values of secret fields. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  constructor(readonly problems: readonly string[]) {
    super(`the configuration is not valid:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`);
  }
}

export interface ConfigSources {
  /** Path of the YAML file; default: `SENDENSE_CONFIG`; without either there is no file. */
  readonly file?: string | undefined;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/**
 * Reads a configuration: defaults, overridden by the YAML file, by the drop-ins in `conf.d` next to it in name order, and by the environment. Only reads files,
 * and only these.
 * @throws ConfigError naming every problem
 */
export function loadConfig<Config extends LoadableConfig & object>(configClass: new () => Config, sources: ConfigSources): Config {
  const config = new configClass();
  const fields = Object.keys(config);
  const origins = new Map<string, string>();
  const problems: string[] = [];

  const file = sources.file ?? sources.environment['SENDENSE_CONFIG'];
  if (file !== undefined && file !== '') {
    const byKey = new Map(fields.map((field) => [fileKey(field), field]));
    for (const source of [file, ...dropIns(file, problems)]) {
      for (const [key, value] of readFile(source, problems)) {
        const field = byKey.get(key);
        if (field === undefined) {
          problems.push(`${key}: is not a known setting (in ${source})${suggestion(key, [...byKey.keys()])}`);
        } else {
          Reflect.set(config, field, value);
          origins.set(field, `in ${source}`);
        }
      }
    }
  }

  for (const field of fields) {
    for (const variable of variablesOf(field)) {
      const text = sources.environment[variable];
      if (text === undefined || text === '') continue;
      Reflect.set(config, field, fromText(text, Reflect.get(new configClass(), field)));
      origins.set(field, `in ${variable}`);
    }
  }

  const dataDirectory: unknown = Reflect.get(config, 'dataDirectory');
  for (const [field, name] of Object.entries(config.pathsInDataDirectory())) {
    if (Reflect.get(config, field) === '' && typeof dataDirectory === 'string') Reflect.set(config, field, resolve(dataDirectory, name));
  }

  const secret = config.secretFields();
  for (const { property, constraints, value } of validateSync(config, { forbidUnknownValues: false })) {
    const origin = origins.get(property);
    // A derived path that is wrong only because the data directory is wrong is not a second problem.
    if (origin === undefined && property in config.pathsInDataDirectory()) continue;
    const shown = secret.includes(property) ? '' : `, but is ${JSON.stringify(value)}`;
    const rules = Object.values(constraints ?? {}).join(' and ');
    problems.push(`${fileKey(property)}: ${rules}${shown}${origin === undefined ? '' : ` (${origin})`}`);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return Object.freeze(config);
}

/** For entry points: prints an invalid configuration to standard error and exits with 2 before anything is touched. */
export function loadConfigOrExit<Config extends LoadableConfig & object>(configClass: new () => Config, sources: ConfigSources): Config {
  try {
    return loadConfig(configClass, sources);
  } catch (error) {
    if (error instanceof ConfigError) return exitWithProblems(error.problems);
    throw error;
  }
}

export function exitWithProblems(problems: readonly string[]): never {
  process.stderr.write(`${new ConfigError(problems).message}\n`);
  process.exit(2);
}

/** `listenPort` -> `listen_port` */
export function fileKey(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** `listenPort` -> `SENDENSE_LISTEN_PORT` */
export function environmentVariable(field: string): string {
  return `SENDENSE_${fileKey(field).toUpperCase()}`;
}

/** Variables that set a field, in increasing precedence. */
function variablesOf(field: string): readonly string[] {
  return field === 'databaseUrl' ? ['DATABASE_URL', environmentVariable(field)] : [environmentVariable(field)];
}

/**
 * The files of `conf.d` next to the file, in name order. Hidden files are skipped; any other name than `*.yaml` is reported, as it would otherwise be ignored
 * silently.
 */
function dropIns(file: string, problems: string[]): readonly string[] {
  const folder = join(dirname(resolve(file)), 'conf.d');
  if (!existsSync(folder)) return [];
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (error) {
    problems.push(`the folder ${folder} cannot be read: ${String(error)}`);
    return [];
  }
  const visible = names.filter((name) => !name.startsWith('.')).sort();
  for (const name of visible) if (!name.endsWith('.yaml')) problems.push(`the file ${join(folder, name)} is not read: its name must end in .yaml`);
  return visible.filter((name) => name.endsWith('.yaml')).map((name) => join(folder, name));
}

function readFile(file: string, problems: string[]): readonly (readonly [string, unknown])[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    problems.push(`the file ${file} cannot be read: ${String(error)}`);
    return [];
  }
  const document = parseDocument(text);
  if (document.errors.length > 0) {
    // The first line of a YAML error gives position and cause; the rest quotes the file, which may hold a secret.
    for (const error of document.errors) problems.push(`the file ${file} is not valid YAML: ${error.message.split('\n')[0] ?? error.code}`);
    return [];
  }
  const content: unknown = document.toJS();
  if (content === null || content === undefined) return [];
  if (typeof content !== 'object' || Array.isArray(content)) {
    problems.push(`the file ${file} must hold settings as "name: value" lines`);
    return [];
  }
  return Object.entries(content);
}

/** Environment variables are text; the type of the default determines the conversion. Text that does not fit stays text and fails the field's rule. */
function fromText(text: string, example: unknown): unknown {
  if (typeof example === 'number') return /^-?\d+$/.test(text) ? Number(text) : text;
  if (typeof example === 'boolean') return text === 'true' ? true : text === 'false' ? false : text;
  if (Array.isArray(example)) return text === '' ? [] : text.split(':');
  return text;
}

function suggestion(key: string, known: readonly string[]): string {
  const like =
    known.find((candidate) => candidate.replaceAll('_', '') === key.toLowerCase().replace(/[^a-z]/g, '')) ??
    known.find((candidate) => distance(candidate, key) <= 2);
  return like === undefined ? '' : `; did you mean ${like}?`;
}

/** Edit distance (insert, delete, replace) between two words. */
function distance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (const [leftIndex, leftLetter] of Array.from(left).entries()) {
    const next = [leftIndex + 1];
    for (const [rightIndex, rightLetter] of Array.from(right).entries()) {
      const replaced = (row[rightIndex] ?? 0) + (leftLetter === rightLetter ? 0 : 1);
      next.push(Math.min(replaced, (row[rightIndex + 1] ?? 0) + 1, (next[rightIndex] ?? 0) + 1));
    }
    row = next;
  }
  return row[right.length] ?? 0;
}
