/** A command as docs/checklists/new-command.md describes it: POST /vms/{id}/note, with the event VmNoted and the column `note`. */

const SLICE = 'src/hub/backup/vms/note-vm';

/** The new folder. */
export const NEW_FILES: Readonly<Record<string, string>> = {
  [`${SLICE}/note-vm.commands.ts`]: `import { Command } from '@nestjs/cqrs';
import type { CommandContext } from '../../../../kernel/command-context.js';
import type { Position } from '../../../../kernel/position.js';

/** Note something on a VM. The result is the position of its newest event. @throws DomainError vm_not_found */
export class NoteVm extends Command<Position | null> {
  constructor(
    readonly vmId: string,
    readonly note: string,
    readonly context: CommandContext,
  ) {
    super();
  }
}
`,
  [`${SLICE}/note-vm.decide.ts`]: `import { DomainError } from '../../../../kernel/domain-error.js';
import type { VmEvent } from '../model/vm.events.js';
import type { VmState } from '../model/vm.state.js';

export type NoteVmData = { readonly vm_id: string; readonly note: string; readonly noted_at: string };

export function decideNoteVm({ vm_id, note, noted_at }: NoteVmData, state: VmState): readonly VmEvent[] {
  if (state.status !== 'registered') throw new DomainError('not_found', 'vm_not_found', \`There is no VM \${vm_id}.\`, { vm_id });
  return note === state.note ? [] : [{ type: 'VmNoted', data: { note, noted_at } }];
}
`,
  [`${SLICE}/note-vm.decide.spec.ts`]: `import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { VmEvent } from '../model/vm.events.js';
import { evolveVm, initialVmState } from '../model/vm.state.js';
import { decideNoteVm } from './note-vm.decide.js';

const { given } = specificationOf({ initialState: initialVmState, evolve: evolveVm, decide: decideNoteVm });
const at = '2026-11-21T10:30:00.000Z';
const vm = { vm_id: 'v1', name: 'pgtest1', node_id: 'n1', source: 'image' as const, source_ref: '/images/pgtest1', disks: [], registered_at: at };
const registered: VmEvent = { type: 'VmRegistered', data: vm };
const noted: VmEvent = { type: 'VmNoted', data: { note: 'moves in May', noted_at: at } };
const command = { vm_id: 'v1', note: 'moves in May', noted_at: at };

describe('noting something on a VM', () => {
  it('records the note once', () => {
    given(registered).when(command).then(noted);
    given(registered, noted).when(command).then();
  });

  it('is refused for a VM that does not exist', () => {
    given().when(command).thenRefused('vm_not_found');
  });
});
`,
  [`${SLICE}/note-vm.handler.ts`]: `import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import type { Position } from '../../../../kernel/position.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { vmStream } from '../model/vm.events.js';
import { vmDecider } from '../model/vm.state.js';
import { NoteVm } from './note-vm.commands.js';
import { decideNoteVm } from './note-vm.decide.js';

const decider = vmDecider(decideNoteVm);

@CommandHandler(NoteVm)
export class NoteVmHandler implements ICommandHandler<NoteVm> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
  ) {}

  async execute({ vmId, note, context }: NoteVm): Promise<Position | null> {
    return (await this.runner.run(vmStream(vmId), decider, { vm_id: vmId, note, noted_at: this.clock.iso() }, context)).position;
  }
}
`,
  [`${SLICE}/note-vm.dto.ts`]: `import { IsString, MaxLength, MinLength } from 'class-validator';

export class NoteVmRequest {
  /** What is noted on the VM @example "moves in May" */
  @IsString()
  @MinLength(1)
  @MaxLength(255)
  note!: string;
}
`,
  [`${SLICE}/note-vm.controller.ts`]: `import { Body, Controller, HttpCode, Param, Post, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiNoContentResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { NoteVm } from './note-vm.commands.js';
import { NoteVmRequest } from './note-vm.dto.js';

@ApiTags('vms')
@Controller('vms')
export class NoteVmController {
  constructor(private readonly commands: CommandBus) {}

  @Post(':id/note')
  @HttpCode(204)
  @ApiOperation({ summary: 'Note something on a VM' })
  @ApiParam({ name: 'id', example: '0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b' })
  @ApiNoContentResponse({ description: 'Noted' })
  @ApiProblem(404, 'vm_not_found')
  async note(
    @Param('id', UuidParam) id: string,
    @Body() { note }: NoteVmRequest,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<void> {
    answerPosition(response, await this.commands.execute(new NoteVm(id, note, context)));
  }
}
`,
};

/** The files to edit, each with the texts to replace: before, after. */
export const EDITS: Readonly<Record<string, readonly (readonly [string, string])[]>> = {
  'src/hub/backup/vms/model/vm.events.ts': [
    ['\n/** Stream `vm', "export type VmNoted = DomainEvent<'VmNoted', { readonly note: string; readonly noted_at: string }>;\n\n/** Stream `vm"],
    ['| VmRemoved;', '| VmRemoved | VmNoted;'],
  ],
  'src/hub/backup/vms/model/vm.state.ts': [
    ['readonly labels: readonly string[] }', 'readonly labels: readonly string[]; readonly note?: string }'],
    [
      "    case 'VmRemoved':",
      `    case 'VmNoted':
      if (state.status !== 'registered') throw new Error(\`vm stream has \${event.type} where no VM is registered\`);
      return { ...state, note: event.data.note };
    case 'VmRemoved':`,
    ],
  ],
  'projections/vms/vms.read-model.ts': [['  },\n  indexes', '    note: text().nullable(),\n  },\n  indexes']],
  'projections/vms/vms.projection.ts': [
    ['problem: null,', 'problem: null,\n          note: null,'],
    [
      "      case 'VmRemoved':",
      `      case 'VmNoted':
        if (row === undefined) throw new Error(\`VM stream \${recorded.stream} has VmNoted where no VM is registered\`);
        return { ...row, note: event.data.note };
      case 'VmRemoved':`,
    ],
  ],
  'src/hub/backup/vms/model/vm.response.ts': [
    ['  /** Position of', '  /** Null: nothing is noted @example "moves in May" */ readonly note!: string | null;\n  /** Position of'],
    ['    position: vm', '    note: vm.note,\n    position: vm'],
  ],
  'src/hub/backup/vms/vms.module.ts': [
    [
      'import { GetVmController }',
      "import { NoteVmController } from './note-vm/note-vm.controller.js';\nimport { NoteVmHandler } from './note-vm/note-vm.handler.js';\nimport { GetVmController }",
    ],
    ['SetLabelsController]', 'SetLabelsController, NoteVmController]'],
    ['SetVmLabelsHandler]', 'SetVmLabelsHandler, NoteVmHandler]'],
  ],
};

/** What a user then sees, of a database that held rows before. Run in the scratch copy. */
export const OVER_HTTP = `import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { CqrsModule } from '@nestjs/cqrs';
import request from 'supertest';
import { Projections } from '../src/hub/store/postgres/projections.js';
import { GetVmController } from '../src/hub/backup/vms/get-vm/get-vm.controller.js';
import { NoteVmController } from '../src/hub/backup/vms/note-vm/note-vm.controller.js';
import { NoteVmHandler } from '../src/hub/backup/vms/note-vm/note-vm.handler.js';
import { openApiDocument } from '../src/hub/operations/http/open-api.js';
import { API_TOKEN, OPEN_API } from './support/http-app.js';
import { missingInOpenApi } from './support/openapi-complete.js';
import { type QueryApp, startQueryApp } from './support/query-app.js';

const VM = process.env['VM_BEFORE'] ?? '';
let running: QueryApp;

beforeAll(async () => {
  running = await startQueryApp({
    databaseUrl: process.env['DATABASE_BEFORE'] ?? '',
    imports: [CqrsModule],
    controllers: [GetVmController, NoteVmController],
    providers: [NoteVmHandler],
  });
});
afterAll(() => running.close());

it('is documented', () => {
  const document = openApiDocument(running.app, OPEN_API);
  expect(Object.keys(document.paths)).toContain('/api/v1/vms/{id}/note');
  expect(document.components?.schemas).toMatchObject({ NoteVmRequest: { properties: { note: { type: 'string', minLength: 1, maxLength: 255 } } } });
  expect(missingInOpenApi(document)).toEqual([]);
});

it('is answered, and shown in a row of before', async () => {
  const api = request(running.app.getHttpServer());
  const get = async (query = '') => (await api.get(\`/api/v1/vms/\${VM}\${query}\`).set('Authorization', \`Bearer \${API_TOKEN}\`)).body;
  expect(await get()).toMatchObject({ vm_id: VM, note: null });
  const answer = await api.post(\`/api/v1/vms/\${VM}/note\`).set('Authorization', \`Bearer \${API_TOKEN}\`).send({ note: 'moves in May' });
  expect([answer.status, answer.body]).toEqual([204, {}]);
  expect(await get(\`?after=\${answer.headers['etag'].replaceAll('"', '')}\`)).toMatchObject({ vm_id: VM, note: 'moves in May' });
  const projections = running.app.get(Projections, { strict: false });
  for (const ends = Date.now() + 30_000; Date.now() < ends; await new Promise((resolve) => setTimeout(resolve, 50))) {
    const vms = (await projections.statuses()).find(({ name }) => name === 'vms');
    if (vms?.state === 'live' && vms.generation === 2) break;
  }
  expect((await projections.statuses()).find(({ name }) => name === 'vms')).toMatchObject({ generation: 2, state: 'live' });
  expect(await get()).toMatchObject({ vm_id: VM, note: 'moves in May' });
});
`;

/** Checks the types of the files named, and writes the schemas of the API for the OpenAPI document. Run in the scratch copy. */
export const COMPILE = `import { mkdirSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import ts from 'typescript';
import { schemasOf } from './bin/api-schemas.mjs';

const { config } = ts.readConfigFile('tsconfig.json', ts.sys.readFile);
const files = process.argv.slice(2);
const { options } = ts.parseJsonConfigFileContent({ ...config, include: [], files }, ts.sys, '.');
const program = ts.createProgram(files, { ...options, noEmit: true });
const named = new Set(files.map((file) => resolve(file)));
const found = program.getSourceFiles().filter(({ fileName }) => named.has(fileName)).flatMap((file) => ts.getPreEmitDiagnostics(program, file));
process.stdout.write(ts.formatDiagnostics(found, { getCanonicalFileName: (name) => name, getCurrentDirectory: () => process.cwd(), getNewLine: () => '\\n' }));
mkdirSync('dist/src/hub', { recursive: true });
writeFileSync('dist/src/hub/api-schemas.json', JSON.stringify(schemasOf(program)));
`;
