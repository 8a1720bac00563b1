import { ApiPropertyOptional } from '@nestjs/swagger';
import { IsOptional, IsString, Length } from 'class-validator';
import { PageQuery } from '../../platform/http/cursor-page.js';

export class ListRepositoriesQuery extends PageQuery {
  @ApiPropertyOptional({ description: 'Only the repository of this name', example: 'main' })
  @IsOptional()
  @IsString()
  @Length(1, 255)
  name?: string;
}
