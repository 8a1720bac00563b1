import { applyDecorators, type CanActivate, type ExecutionContext, Inject, Injectable, SetMetadata } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { ApiExtension } from '@nestjs/swagger';
import { ROUTE_ARGS_METADATA } from '@nestjs/common/constants.js';
import { RouteParamtypes } from '@nestjs/common/enums/route-paramtypes.enum.js';
import type { Request } from 'express';
import type { CallDirection } from '../signed-calls/call-signature.js';
import { accessOf, CALLS_HERE } from './bearer.guard.js';
import { type FieldError, validationProblem } from './problem.js';
import { printable } from './request-hygiene.js';
import { requestState } from './request-state.js';

const PRESENT_ONLY = 'sendense:present-only';
/** OpenAPI extension of operations that show the present only. */
export const PRESENT_EXTENSION = 'x-sendense-present-only';

/** A query of what exists now, such as processes, files and live figures: it refuses `?as_of=`. All other queries answer for every instant. */
export const PresentOnly = (): MethodDecorator & ClassDecorator => applyDecorators(SetMetadata(PRESENT_ONLY, true), ApiExtension(PRESENT_EXTENSION, true));

/** Refuses query parameters that a route does not declare. Routes with a query class leave this to the validation of that class. */
@Injectable()
export class QueryGuard implements CanActivate {
  constructor(
    private readonly reflector: Reflector,
    @Inject(CALLS_HERE) private readonly direction: CallDirection,
  ) {}

  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<Request>();
    const errors: FieldError[] = [];
    const known = declaredQuery(context);
    if (known !== 'by_class')
      errors.push(
        ...Object.keys(request.query)
          .filter((name) => !known.has(name))
          .map(unknownParameter),
      );
    // A node has no read models to wait for, and callers without a token must not make the hub wait.
    const { after, asOf } = requestState(request);
    const hasReadModels = this.direction !== 'to_node' && accessOf(this.reflector, context) === 'api';
    if (after !== null && !hasReadModels) errors.push(unknownParameter('after'));
    const isPresent = this.reflector.getAllAndOverride<true | undefined>(PRESENT_ONLY, [context.getHandler(), context.getClass()]) === true;
    if (asOf !== null && (!hasReadModels || isPresent)) errors.push(unknownParameter('as_of'));
    if (errors.length > 0) throw validationProblem(errors);
    return true;
  }
}

function declaredQuery(context: ExecutionContext): ReadonlySet<string> | 'by_class' {
  const declared: unknown = Reflect.getMetadata(ROUTE_ARGS_METADATA, context.getClass(), context.getHandler().name);
  const names = new Set<string>();
  for (const [key, argument] of Object.entries(declared ?? {}) as [string, { readonly data?: unknown }][]) {
    if (!key.startsWith(`${RouteParamtypes.QUERY}:`)) continue;
    if (typeof argument.data !== 'string') return 'by_class';
    names.add(argument.data);
  }
  return names;
}

function unknownParameter(name: string): FieldError {
  const field = printable(name);
  return { field, rule: 'unknown_field', message: `property ${field} should not exist` };
}
