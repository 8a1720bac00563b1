import { Controller, Get, Header, Param, Query, StreamableFile } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam, ApiProduces, ApiTags } from '@nestjs/swagger';
import { DomainError } from '../../../../kernel/domain-error.js';
import { PresentOnly } from '../../../../lib/http/query.guard.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { validationProblem } from '../../../../lib/http/problem.js';
import { parseTilePath } from '../../../../lib/ledger/tiles.js';
import { Ledger } from '../model/ledger.reader.js';
import { LedgerKeys } from '../model/ledger-keys.service.js';
import { ConsistencyProofResponse, ConsistencyQuery, InclusionProofResponse, InclusionQuery, LedgerKeyResponse } from './serve-ledger.dto.js';

const TILE = 'application/octet-stream';
const TEXT = 'text/plain; charset=utf-8';

@ApiTags('ledger')
@PresentOnly()
@Controller('ledger')
export class ServeLedgerController {
  constructor(
    private readonly ledger: Ledger,
    private readonly keys: LedgerKeys,
  ) {}

  @Get('checkpoint')
  @Header('Content-Type', TEXT)
  @Header('Cache-Control', 'no-store')
  @ApiOperation({
    summary: 'Newest checkpoint of the ledger',
    description: 'A signed note: origin, number of events, root hash, signature (C2SP tlog-checkpoint).',
  })
  @ApiProduces('text/plain')
  @ApiOkResponse({
    description: 'The checkpoint',
    schema: { type: 'string', example: 'sendense/h\n42\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n— sendense/h Az3grlgt\n' },
  })
  @ApiProblem(409, 'checkpoint_refused')
  checkpoint(): Promise<string> {
    return this.ledger.checkpoint();
  }

  @Get('key')
  @ApiOperation({ summary: 'The key that verifies checkpoints', description: 'Keep it where the hub cannot change it.' })
  @ApiOkResponse({ type: LedgerKeyResponse })
  key(): LedgerKeyResponse {
    return { key: this.keys.verifier };
  }

  @Get('tile/:level/:tile')
  @ApiTile('Hashes of the ledger, as a tile')
  @ApiParam({ name: 'tile', example: '000' })
  tile(@Param('level') level: string, @Param('tile') tile: string): Promise<StreamableFile> {
    return this.send(level, tile);
  }

  @Get('tile/:level/:tile/:rest')
  @ApiTile('A tile with two elements of its path')
  @ApiParam({ name: 'tile', example: '000.p' })
  @ApiParam({ name: 'rest', example: '42' })
  tileOfTwo(@Param('level') level: string, @Param('tile') tile: string, @Param('rest') rest: string): Promise<StreamableFile> {
    return this.send(level, tile, rest);
  }

  @Get('tile/:level/:tile/:rest/:last')
  @ApiTile('A tile with three elements of its path')
  @ApiParam({ name: 'tile', example: 'x001' })
  @ApiParam({ name: 'rest', example: '067.p' })
  @ApiParam({ name: 'last', example: '42' })
  tileOfThree(@Param('level') level: string, @Param('tile') tile: string, @Param('rest') rest: string, @Param('last') last: string): Promise<StreamableFile> {
    return this.send(level, tile, rest, last);
  }

  @Get('proofs/inclusion')
  @ApiOperation({ summary: 'Prove that the ledger contains an event' })
  @ApiOkResponse({ type: InclusionProofResponse })
  @ApiProblem(404, 'event_not_found')
  @ApiProblem(409, 'event_differs', 'checkpoint_refused')
  @ApiProblem(503, 'event_not_in_ledger')
  async inclusion(@Query() { event_id }: InclusionQuery): Promise<InclusionProofResponse> {
    const { event, index, leaf, leafHash, proof, checkpoint } = await this.ledger.proveEvent(event_id);
    const { stream, revision } = event;
    return { event_id, stream, revision, leaf_index: index, leaf, leaf_hash: leafHash.toString('base64'), proof: proof.map(toBase64), checkpoint };
  }

  @Get('proofs/consistency')
  @ApiOperation({ summary: 'Prove that the ledger of one size begins with the ledger of a smaller one' })
  @ApiOkResponse({ type: ConsistencyProofResponse })
  @ApiProblem(409, 'ledger_size_not_reached')
  async consistency(@Query() { from, to }: ConsistencyQuery): Promise<ConsistencyProofResponse> {
    if (from > to) throw validationProblem([{ field: 'to', rule: 'min', message: 'to must not be less than from' }]);
    return { from, to, proof: (await this.ledger.proveConsistency(from, to)).map(toBase64) };
  }

  private async send(...elements: readonly string[]): Promise<StreamableFile> {
    const path = parseTilePath(`tile/${elements.join('/')}`);
    if (path === null)
      throw new DomainError('not_found', 'ledger_tile_not_found', `${elements.join('/')} is not the path of a tile: <level>/<index>[.p/<width>].`);
    return new StreamableFile(await this.ledger.tile(path), { type: TILE });
  }
}

function ApiTile(summary: string): MethodDecorator {
  return (...on) => {
    ApiOperation({ summary, description: 'One to 256 hashes of 32 bytes (C2SP tlog-tiles): `/ledger/` is the prefix of the log.' })(...on);
    ApiParam({ name: 'level', example: '0' })(...on);
    ApiProduces(TILE)(...on);
    ApiOkResponse({ description: 'The hashes', schema: { type: 'string', format: 'binary', example: '(bytes)' } })(...on);
    ApiProblem(404, 'ledger_tile_not_found')(...on);
  };
}

function toBase64(hash: Buffer): string {
  return hash.toString('base64');
}
