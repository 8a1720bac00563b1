import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import type { JsonObject } from '../../kernel/json.js';
import { object, orNull, text, wholeNumber, WrongShapeError } from '../../lib/json-shape/json-shape.js';
import { type ExportedEvent, HistoryCheck, type KeptRestorePoint, type Witness } from '../../lib/ledger/history-check.js';
import { type NoteVerifier, parseVerifier } from '../../lib/ledger/signed-note.js';
import { RepositoryFiles } from '../../storage/repository-files/repository-files.js';
import { hubOf, type HubOptions, withHubOptions } from '../api/hub-options.js';
import { CliCommand } from '../terminal/command.js';

interface VerifyOptions {
  readonly events?: string;
  readonly repository?: string;
  readonly checkpoint: readonly string[];
  readonly key: readonly NoteVerifier[];
  readonly json?: true;
}

export function ledgerCommand(environment: NodeJS.ProcessEnv): CliCommand {
  const verify: CliCommand = new CliCommand('verify');
  verify
    .description('Verifies the history of a hub without the hub: an export of its events, a repository, or both against each other.')
    .option('--events <file>', 'all events, oldest first: GET /audit/events?order=oldest_first with Accept: application/x-ndjson', (path) => resolve(path))
    .option('--repository <path>', 'a repository, whose manifests have checkpoints', (path) => resolve(path))
    .option('--checkpoint <file>', 'a checkpoint that was kept; may be repeated', (file: string, earlier: readonly string[]) => [...earlier, resolve(file)], [])
    .option(
      '--key <key>',
      'key of the hub (GET /ledger/key), kept where the hub cannot change it; may be repeated. Without it, signatures are not checked',
      (key: string, earlier: readonly NoteVerifier[]) => [...earlier, parseVerifier(key)],
      [],
    )
    .option('--json', 'print JSON, for programs')
    .addHelpText('after', '\nExit codes: 0 all agree, 1 something was changed or cannot be read, 2 wrong usage')
    .does(async (options: VerifyOptions) => {
      if (options.events === undefined && options.repository === undefined) return verify.error('name --events, --repository, or both');
      return verifyHistory(options);
    });
  const rotate = withHubOptions(new CliCommand('rotate-key').description('Makes the hub sign its checkpoints with a new key, and prints that.')).does(
    async (options: HubOptions) => {
      const { key } = await (await hubOf(options, environment)).call<{ readonly key: string }>('POST', '/ledger/rotate-key', {});
      process.stdout.write(`${key}\n`);
    },
  );
  return new CliCommand('ledger').description('Verifies the history of a hub, and rotates the key that signs it.').addCommand(verify).addCommand(rotate);
}

async function verifyHistory({ events, repository, checkpoint, key, json }: VerifyOptions): Promise<number> {
  const kept = repository === undefined ? null : await readRepository(repository);
  const files = await Promise.all(checkpoint.map(async (file) => ({ source: file, note: await readFile(file, 'utf8'), at: null })));
  const witnesses = [...(kept?.witnesses ?? []), ...files];
  const check = new HistoryCheck(witnesses, key);
  if (events !== undefined) for await (const event of readEvents(events)) check.add(event);
  const problems = check.problems(events !== undefined, kept?.points);
  const root = events === undefined ? null : check.root().toString('base64');
  const report = {
    verified: problems.length === 0,
    events: events === undefined ? null : check.size,
    root_hash: root,
    checkpoints: witnesses.length,
    signatures_checked: key.length > 0,
    unreadable: kept?.unreadable ?? [],
    problems,
  };
  const lines = problems.map(({ kind, first_event, first_position, last_event, detail }) => {
    const range = last_event === null ? '' : ` to ${last_event}`;
    const where = first_event === null ? '' : ` at event ${first_event}${range}${first_position === null ? '' : ` (position ${first_position})`}`;
    return `${kind}${where}: ${detail}\n`;
  });
  lines.push(...report.unreadable.map((problem) => `manifest_unreadable: ${problem}\n`));
  const isSound = report.verified && report.unreadable.length === 0;
  const read = [...(events === undefined ? [] : [`${check.size} events with the root ${root ?? ''}`]), `${witnesses.length} checkpoint(s)`].join(', ');
  const proof = witnesses.length === 0 ? ' There is no checkpoint, so compare the root with one that you keep.' : '';
  const trust = key.length > 0 ? '' : ' Signatures were not checked: give --key.';
  const summary = isSound ? `All agree: ${read}.${proof}${trust}\n` : `${problems.length} problem(s) in ${read}.${trust}\n`;
  process.stdout.write(json === true ? `${JSON.stringify(report)}\n` : `${lines.join('')}${summary}`);
  return isSound ? 0 : 1;
}

async function readRepository(path: string): Promise<{
  readonly witnesses: readonly Witness[];
  readonly points: ReadonlyMap<string, readonly KeptRestorePoint[]>;
  readonly unreadable: readonly string[];
}> {
  const files = new RepositoryFiles();
  const found = await files.listRestorePoints(path);
  const witnesses: Witness[] = [];
  const points = new Map<string, KeptRestorePoint[]>();
  for (const { folder, manifest, manifest_sha256 } of found) {
    if (manifest === null) continue;
    if (manifest.ledger_checkpoint !== null) witnesses.push({ source: folder, note: manifest.ledger_checkpoint, at: manifest.sealed_at });
    const same = points.get(manifest.repository_id) ?? [];
    points.set(manifest.repository_id, [...same, { backup_id: manifest.backup_id, folder, manifest_sha256 }]);
  }
  return { witnesses, points, unreadable: found.flatMap(({ problem }) => (problem === null ? [] : [problem])) };
}

/** @throws Error that names the line */
async function* readEvents(file: string): AsyncGenerator<ExportedEvent, void, undefined> {
  let number = 0;
  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
    number += 1;
    try {
      yield parseEvent(object(JSON.parse(line), 'the line'));
    } catch (error) {
      const what = error instanceof WrongShapeError ? error.message : 'it is not JSON';
      throw new Error(`${file}, line ${number}: ${what}; it must be an export of all events by this version or a later one`, { cause: error });
    }
  }
}

function parseEvent(line: Readonly<Record<string, unknown>>): ExportedEvent {
  return {
    position: text(line['position'], 'position'),
    stream: text(line['stream'], 'stream'),
    revision: wholeNumber(line['revision'], 'revision'),
    id: text(line['event_id'], 'event_id'),
    type: text(line['type'], 'type'),
    // JSON.parse gives nothing but JSON.
    data: object(line['data'], 'data') as JsonObject,
    metadata: {
      $correlationId: text(line['correlation_id'], 'correlation_id'),
      $causationId: text(line['causation_id'], 'causation_id'),
      actor: text(line['actor'], 'actor'),
      hub_id: text(line['hub_id'], 'hub_id'),
      schema_version: wholeNumber(line['schema_version'], 'schema_version'),
      time: text(line['time'], 'time'),
      ...orNull(object)(line['further_metadata'] ?? null, 'further_metadata'),
    },
    recordedAt: text(line['recorded_at'], 'recorded_at'),
  };
}
