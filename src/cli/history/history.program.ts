import { isDeepStrictEqual } from 'node:util';
import { Argument } from 'commander';
import type { HistoryDiff, HistoryEvent, HistoryExplanation } from '../api/answers.js';
import { hubOf } from '../api/hub-options.js';
import { hubCommand, readingCommand, type ResourceOptions } from '../api/resource.command.js';
import { CliCommand } from '../terminal/command.js';

const KINDS = ['backup', 'chain', 'vm', 'repository', 'node', 'restore_job', 'restore_export', 'restore_mount', 'verification'] as const;

export function historyCommand(environment: NodeJS.ProcessEnv): CliCommand {
  const diff = hubCommand('diff', 'show what was added, removed and changed between two instants')
    .argument('<from>', 'a time (2026-11-21T10:30:00Z) or a position')
    .argument('<to>', 'a later one')
    .does(async (from: string, to: string, options: ResourceOptions) => {
      const query = new URLSearchParams({ from, to }).toString();
      const answer = await (await hubOf(options, environment)).call<HistoryDiff>('GET', `/history/diff?${query}`);
      const lines = answer.changes.flatMap(({ kind, id, change, before, after, events }) => [
        `${change} ${kind} ${id}`,
        ...(change === 'changed' ? differences('', before, after).map((line) => `  ${line}`) : []),
        ...events.map((event) => `  ${lineOf(event)}`),
      ]);
      print(answer, lines.length === 0 ? ['nothing changed'] : lines, options);
    });
  const explain = readingCommand('explain', 'show the commands, actors and triggers that led to the state of one thing')
    .addArgument(new Argument('<kind>', 'kind of the thing').choices(KINDS))
    .argument('<id>', 'its id')
    .does(async (kind: string, id: string, options: ResourceOptions) => {
      const query = new URLSearchParams({ [kind]: id }).toString();
      const answer = await (await hubOf(options, environment)).call<HistoryExplanation>('GET', `/history/explain?${query}`);
      const lines = answer.causes.flatMap(({ command_id, actor, events, triggered_by }) => [
        `command ${command_id} by ${actor}${triggered_by === null ? '' : `, after ${triggered_by.type} of ${triggered_by.stream}`}`,
        ...events.map((event) => `  ${lineOf(event)}`),
      ]);
      print(answer, lines, options);
    });
  return new CliCommand('history').description("Shows what has changed in the hub's past, and why.").addCommand(diff).addCommand(explain);
}

function lineOf({ time, type, stream, actor }: HistoryEvent): string {
  return `${time}  ${type}  ${stream}  ${actor}`;
}

/** The members in which two values differ, one a line: `disks[0].sha256: null -> "ab12"`. */
function differences(path: string, before: unknown, after: unknown): readonly string[] {
  if (isDeepStrictEqual(before, after)) return [];
  if (typeof before !== 'object' || typeof after !== 'object' || before === null || after === null || Array.isArray(before) !== Array.isArray(after)) {
    return [`${path}: ${shown(before)} -> ${shown(after)}`];
  }
  const [old, now] = [new Map<string, unknown>(Object.entries(before)), new Map<string, unknown>(Object.entries(after))];
  const nameOf = (key: string): string => (Array.isArray(after) ? `${path}[${key}]` : path === '' ? key : `${path}.${key}`);
  return [...new Set([...old.keys(), ...now.keys()])].flatMap((key) => differences(nameOf(key), old.get(key), now.get(key)));
}

function shown(value: unknown): string {
  const text = JSON.stringify(value ?? null);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

function print(answer: object, lines: readonly string[], { json }: ResourceOptions): void {
  process.stdout.write(json === true ? `${JSON.stringify(answer, null, 2)}\n` : lines.map((line) => `${line}\n`).join(''));
}
