import { applyDecorators } from '@nestjs/common';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';

/** Documents the problems of every route that looks into a mount, apart from those with 400 and 409. */
export function ApiGuestFileProblems(): MethodDecorator {
  return applyDecorators(
    ApiProblem(403, 'link_leaves_mount'),
    ApiProblem(404, 'mount_not_found', 'file_not_found'),
    ApiProblem(410, 'mount_expired', 'mount_released', 'mount_failed'),
    ApiProblem(502, 'file_unreadable'),
    ApiProblem(503, 'mount_gone'),
    ApiProblem(504, 'mount_silent'),
  );
}
