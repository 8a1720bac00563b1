import { Body, Controller, HttpCode, Post, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { ArrayMaxSize, IsArray, IsString, Matches, MaxLength } from 'class-validator';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { ImportRepository } from '../model/repository.commands.js';

export class ImportRepositoryDto {
  /** Absolute path of the folder that holds the marker .sendense-repository.json @example "/srv/backups" */
  @IsString()
  @MaxLength(4096)
  @Matches(/^\/[^\p{Cc}]*$/u, { message: 'path must be an absolute path without control characters' })
  readonly path!: string;

  /** Unique display name @example "found again" */
  @IsString()
  @MaxLength(128)
  @Matches(/^(?!\s)[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]+(?<!\s)$/u, { message: 'name must have no control characters and neither begin nor end with a space' })
  readonly name!: string;

  /**
   * Keys of the hubs that have sealed the restore points, from `GET /ledger/key` there; with keys, restore points that another key has signed are skipped
   * @example ["sendense/0199a3c0-2b40-7d10-b1de-64f0a52c9e01+63b5c2a1+AX96v2LSZRHDp2Fcyr4NILypeWZbGI1p8+If97BO68sQ"]
   */
  @Optional()
  @IsArray()
  @ArrayMaxSize(16)
  @IsString({ each: true })
  @Matches(/^[^\s+]{1,128}\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}$/, { each: true, message: 'keys must be verifier keys: <name>+<key id>+<key>' })
  readonly keys: readonly string[] = [];
}

export class SkippedPointDto {
  /** @example "pgtest1-3c1f0e5b/20261122T101500Z-incr-0d5e9f31" */ readonly folder!: string;
  /** @example "It depends on restore point 0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11, which is missing." */ readonly reason!: string;
}

/** Who has signed the manifests of the restore points that are imported or already known. */
export class ImportSignaturesDto {
  /** Signed with one of the given keys @example 0 */ readonly trusted!: number;
  /** Signed with a key that was not given: whoever has it wrote the manifest @example 1 */ readonly unknown_key!: number;
  /** Of format 1, which has no signatures @example 0 */ readonly unsigned!: number;
  /** The keys that were not given @example ["sendense/0199a3c0-2b40-7d10-b1de-64f0a52c9e01+63b5c2a1+AX96v2LSZRHDp2Fcyr4NILypeWZbGI1p8+If97BO68sQ"] */
  readonly unknown_keys!: readonly string[];
}

export class RepositoryImportDto {
  /** @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e02" */ readonly repository_id!: string;
  /** @example "found again" */ readonly name!: string;
  /** @example "/srv/backups" */ readonly path!: string;
  /** False if the repository was already known */ readonly created!: boolean;
  /** Ids of the imported backups @example ["0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11"] */
  readonly imported!: readonly string[];
  /** @example 0 */ readonly already_known!: number;
  /** @example [] */ readonly skipped!: readonly SkippedPointDto[];
  readonly signatures!: ImportSignaturesDto;
  /** For ?after= @example "0000000000000000042" */ readonly position!: string | null;
}

@ApiTags('repositories')
@Controller('repositories')
export class ImportRepositoryController {
  constructor(private readonly commands: CommandBus) {}

  @Post('import')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Import a repository of another hub, with its restore points',
    description:
      'The files stay unchanged. A restore point whose manifest was changed after its hub signed it is skipped. A repeated import adds restore points that appeared since. The next backup of a VM is a full backup unless the VM has the same id here.',
  })
  @ApiOkResponse({ type: RepositoryImportDto })
  @ApiProblem(400, 'validation_failed', 'key_invalid', 'repository_marker_missing', 'repository_path_invalid', 'repository_not_writable')
  @ApiProblem(409, 'repository_name_taken', 'repository_already_used', 'repository_overlaps')
  @ApiProblem(503, 'repository_unavailable', 'read_model_behind')
  async import(
    @Body() body: ImportRepositoryDto,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<RepositoryImportDto> {
    const { repository, created, imported, already_known, skipped, signatures, position } = await this.commands.execute(
      new ImportRepository(body.path, body.name, body.keys, context),
    );
    answerPosition(response, position);
    const { repository_id, name, location } = repository;
    return { repository_id, name, path: location.path, created, imported, already_known, skipped, signatures, position };
  }
}
