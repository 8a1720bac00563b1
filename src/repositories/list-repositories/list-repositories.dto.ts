import { ApiPropertyOptional } from '@nestjs/swagger';
import { IsString, Length } from 'class-validator';
import { PageQuery } from '../../platform/http/cursor-page.js';
import { Optional } from '../../platform/http/presence.decorators.js';

export class ListRepositoriesQuery extends PageQuery {
  @ApiPropertyOptional({ description: 'Only the repository of this name', example: 'main' })
  @Optional()
  @IsString()
  @Length(1, 255)
  name?: string;
}
