import { Controller, HttpCode, Post, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { LedgerKeyRotation } from './rotate-key.service.js';

export class RotatedLedgerKeyResponse {
  /** The key that verifies checkpoints from now on @example "sendense/0199a3c0-0001-7000-8000-000000000001+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k" */
  readonly key!: string;
}

@ApiTags('ledger')
@Controller('ledger')
export class RotateLedgerKeyController {
  constructor(private readonly rotation: LedgerKeyRotation) {}

  @Post('rotate-key')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Sign checkpoints with a new key',
    description:
      'Recorded as `LedgerKeyRotated` with a note in which the old key names the new one, so a verifier that trusts the old key can trust the new one.',
  })
  @ApiOkResponse({ type: RotatedLedgerKeyResponse })
  @ApiProblem(409, 'ledger_key_replaced')
  async rotate(@Context() context: CommandContext, @Res({ passthrough: true }) response: Response): Promise<RotatedLedgerKeyResponse> {
    const { key, position } = await this.rotation.rotate(context);
    answerPosition(response, position);
    return { key };
  }
}
