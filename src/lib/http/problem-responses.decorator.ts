import { applyDecorators } from '@nestjs/common';
import { ApiExtension, ApiExtraModels, ApiResponse, getSchemaPath } from '@nestjs/swagger';
import type { JsonObject } from '../../kernel/json.js';
import { PROBLEM_MEDIA_TYPE, titleOf } from './problem.js';

export class FieldErrorSchema {
  /** Member of the request; the path for nested members @example "disks.0.disk_key" */ field!: string;

  /** Stable identifier of the rule @example "is_string" */ rule!: string;

  /** @example "disks.0.disk_key must be a string" */ message!: string;
}

/** Problem details for input that never became a request; has neither path nor correlation id. */
export class UnreadProblem {
  /** Identifies the kind of problem; derived from `code` @example "urn:sendense:problem:malformed_request" */
  type!: string;

  /** @example "Malformed request" */ title!: string;

  /** The HTTP status @integer @example 400 */ status!: number;

  /** Stable identifier for programs @example "malformed_request" */ code!: string;

  /** @example "This is not a valid HTTP/1.1 request." */ detail!: string;
}

/** Problem details (RFC 9457). Facts about an error are additional members. */
export class Problem {
  /** Identifies the kind of problem; derived from `code` @example "urn:sendense:problem:backup_not_found" */
  type!: string;

  /** @example "Backup not found" */ title!: string;

  /** The HTTP status @example 404 */ status!: number;

  /** Stable identifier for programs @example "backup_not_found" */ code!: string;

  /** The cause of this error, and what to do @example "There is no backup 0193a5c2-7d1e-7000-8000-000000000000." */
  detail!: string;

  /** Path of the request @example "/api/v1/backups/0193a5c2-7d1e-7000-8000-000000000000" */ instance!: string;

  /** Identifies the request in logs and events @example "0193a5c2-8a00-7000-8000-000000000001" */
  correlation_id!: string;

  /** The broken rules; only with `validation_failed` */ errors?: FieldErrorSchema[];
}

/** Documents that a route may answer `status` with any of these codes. */
export function ApiProblem(status: number, ...codes: readonly [string, ...string[]]): MethodDecorator & ClassDecorator {
  return applyDecorators(ApiExtraModels(Problem, FieldErrorSchema), ApiResponse({ status, ...problemResponse(status, codes) }));
}

/** OpenAPI extension for operations that call a node before they answer. */
export const NODE_EXTENSION = 'x-sendense-asks-node';

/** Documents that the route calls a node, and may answer with the reasons why that failed. The node's own refusals are documented with `ApiProblem`. */
export function ApiAsksNode(): MethodDecorator {
  return ApiExtension(NODE_EXTENSION, true);
}

/** The response object in the document for `status` with these codes. */
export function problemResponse(status: number, codes: readonly string[]) {
  return responseOf(Problem, codes, (code) => ({ ...unreadExample(status, code), ...requestOf(code) }));
}

/** The response object for input that never became a request. */
export function unreadResponse(status: number, code: string) {
  return responseOf(UnreadProblem, [code], () => unreadExample(status, code));
}

function responseOf(schema: typeof Problem | typeof UnreadProblem, codes: readonly string[], example: (code: string) => JsonObject) {
  return {
    description: codes.map((code) => `\`${code}\``).join(', '),
    content: {
      [PROBLEM_MEDIA_TYPE]: {
        schema: { $ref: getSchemaPath(schema) },
        examples: Object.fromEntries(codes.map((code) => [code, { value: example(code) }])),
      },
    },
  };
}

function unreadExample(status: number, code: string): JsonObject {
  return { type: `urn:sendense:problem:${code}`, title: titleOf(code), status, code, detail: `${titleOf(code)}.` };
}

function requestOf(code: string): JsonObject {
  return {
    instance: '/api/v1/...',
    correlation_id: '0193a5c2-8a00-7000-8000-000000000001',
    ...(code === 'validation_failed' && { errors: [{ field: 'vm_name', rule: 'is_string', message: 'vm_name must be a string' }] }),
  };
}
