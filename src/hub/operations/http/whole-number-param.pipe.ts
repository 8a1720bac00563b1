import { type ArgumentMetadata, Injectable, type PipeTransform } from '@nestjs/common';
import { validationProblem } from '../../../lib/http/problem.js';

/** The largest number of nine digits. */
export const LARGEST_WHOLE_NUMBER = 999_999_999;

/** For path parameters that are numbers from 0: `@Param('disk_id', WholeNumberParam) diskId: number`. @throws HttpProblem 400 for anything else */
@Injectable()
export class WholeNumberParam implements PipeTransform<string, number> {
  transform(value: string, metadata: ArgumentMetadata): number {
    const field = metadata.data ?? 'number';
    if (!/^\d{1,9}$/.test(value)) throw validationProblem([{ field, rule: 'is_whole_number', message: `${field} must be a whole number from 0` }]);
    return Number(value);
  }
}
