import { type ArgumentMetadata, Injectable, type PipeTransform } from '@nestjs/common';
import { validationProblem } from '../../../lib/http/problem.js';
import { isUuid } from '../../../kernel/uuid.js';

/** For path parameters that are ids: `@Param('id', UuidParam) id: string`. Returns the id in lower case. @throws HttpProblem 400 for anything else */
@Injectable()
export class UuidParam implements PipeTransform<string, string> {
  transform(value: string, metadata: ArgumentMetadata): string {
    const field = metadata.data ?? 'id';
    if (!isUuid(value)) throw validationProblem([{ field, rule: 'is_uuid', message: `${field} must be a UUID` }]);
    return value.toLowerCase();
  }
}
